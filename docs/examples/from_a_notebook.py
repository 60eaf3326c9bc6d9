"""A run from a notebook: dictionaries in, answers out.

The same as the command: a configuration and tasks as dictionaries, or paths of files; progress is
one picture that is redrawn. What it leaves is a run like any other.
"""

import json
import random
import tempfile
from pathlib import Path

import mtljax

WORDS = {"good": "fine great lovely super", "bad": "poor awful dull broken"}


def write_reviews(path):
    draw = random.Random(0)
    with path.open("w") as file:
        for _ in range(120):
            mood = draw.choice(list(WORDS))
            text = " ".join(draw.choice(WORDS[mood].split()) for _ in range(6))
            row = {"text": text, "mood": mood, "stars": {"good": 5, "bad": 1}[mood]}
            print(json.dumps(row), file=file)


def main():
    with tempfile.TemporaryDirectory() as folder:
        write_reviews(Path(folder) / "reviews.jsonl")
        tasks = {
            "sources": {"reviews": {"path": f"{folder}/reviews.jsonl"}},
            "tasks": {
                "mood": {"dataset": "reviews", "kind": "classification", "inputs": "text",
                         "targets": "mood"},
                "stars": {"dataset": "reviews", "kind": "regression", "inputs": "text",
                          "targets": "stars"},
            },
        }  # fmt: skip
        config = {"preset": "linear", "steps": 60, "evaluate_every": 30,
                  "batch": {"tokens": 512, "row_length": 16},
                  "optimizer": {"learning_rate": 0.03}}  # fmt: skip
        mtljax.train(config, tasks, f"{folder}/run")
        run = mtljax.load_run(f"{folder}/run")
        (answer,) = run.predict(["lovely super great fine"])
    print(answer)
    return answer


if __name__ == "__main__":
    main()
