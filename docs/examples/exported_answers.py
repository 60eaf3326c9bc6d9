"""A run exported, and asked by a program in which this library does not occur.

`to_stablehlo` writes programs of `jax.export`, parameters, the tokenizer and a script that needs
JAX and NumPy. Another process runs the script; its answers are those of the run.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import mtljax
from mtljax import export

WORDS = {"good": "fine great lovely super", "bad": "poor awful dull broken"}
ASK = """
import sys, json, answer
answers = answer.answer(sys.argv[1:])
assert "mtljax" not in sys.modules
print(json.dumps(answers))
"""


def write_reviews(path):
    draw = random.Random(0)
    with path.open("w") as file:
        for _ in range(120):
            mood = draw.choice(list(WORDS))
            text = " ".join(draw.choice(WORDS[mood].split()) for _ in range(6))
            print(json.dumps({"text": text, "mood": mood}), file=file)


def main():
    with tempfile.TemporaryDirectory() as folder:
        write_reviews(Path(folder) / "reviews.jsonl")
        tasks = {
            "sources": {"reviews": {"path": f"{folder}/reviews.jsonl"}},
            "tasks": {"mood": {"dataset": "reviews", "kind": "classification", "inputs": "text",
                               "targets": "mood"}},
        }  # fmt: skip
        config = {"preset": "linear", "steps": 60, "evaluate_every": 30,
                  "batch": {"tokens": 512, "row_length": 16},
                  "optimizer": {"learning_rate": 0.03}}  # fmt: skip
        mtljax.train(config, tasks, f"{folder}/run")
        run, texts = mtljax.load_run(f"{folder}/run"), ["a lovely film", "dull and broken"]
        export.to_stablehlo(run, f"{folder}/exported")
        printed = subprocess.check_output(
            [sys.executable, "-c", ASK, *texts], cwd=f"{folder}/exported", text=True
        )
        ours, theirs = list(run.predict(texts)), json.loads(printed)
    print(*ours, *theirs, sep="\n")
    return ours, theirs


if __name__ == "__main__":
    main()
