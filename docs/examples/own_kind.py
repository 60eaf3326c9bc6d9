"""A kind of task of one's own: counts, by a Poisson loss.

A kind is one value: how rows become targets, which head it has, its loss, its metric and what an
answer says. From then on tasks files, runs and answers know it.
"""

import json
import random
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import mtljax
from mtljax import metrics
from mtljax.kinds import KINDS, Kind
from mtljax.modules import segment_head

VISITS = {"calm": 1, "busy": 4, "frantic": 9}


def encode_targets(rows):
    counts = np.array([row[rows.target_name] for row in rows.rows], np.int32)
    return counts, rows.sample_weights()


def poisson(predictions, targets, settings):
    """The negative log likelihood of counts, of which the log rate is given, less a constant."""
    return jnp.exp(predictions[..., 0]) - targets * predictions[..., 0]


def metric_state(name, rates, counts, weights, output):
    return metrics.Mean((weights * abs(rates - counts)).sum(), weights.sum())


COUNT = Kind(
    losses=("poisson",),
    metrics=("distance", "loss"),
    lower_is_better=frozenset({"distance", "loss"}),
    target_features=("number",),
    encode_targets=encode_targets,
    head=segment_head,
    element_losses=poisson,
    predicted_targets=lambda predictions, num_classes: jnp.exp(predictions[..., 0]),
    metric_state=metric_state,
    answer=lambda rate, output, words: {"expected": round(float(rate), 1)},
)


def main():
    KINDS["count"] = COUNT
    draw, poisson_draw = random.Random(0), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for _ in range(120):
            word = draw.choice(list(VISITS))
            rows.append(
                {"text": f"a {word} day", "visits": int(poisson_draw.poisson(VISITS[word]))}
            )
        (Path(folder) / "days.jsonl").write_text("\n".join(map(json.dumps, rows)))
        tasks = {
            "sources": {"days": {"path": f"{folder}/days.jsonl"}},
            "tasks": {"visits": {"dataset": "days", "kind": "count", "inputs": "text",
                                 "targets": "visits"}},
        }  # fmt: skip
        config = {"preset": "linear", "steps": 80, "evaluate_every": 40,
                  "batch": {"tokens": 512, "row_length": 16},
                  "optimizer": {"learning_rate": 0.03}}  # fmt: skip
        mtljax.train(config, tasks, f"{folder}/run")
        answers = mtljax.load_run(f"{folder}/run").predict([f"a {word} day" for word in VISITS])
    expected = {word: answer["visits"] for word, answer in zip(VISITS, answers, strict=True)}
    print(expected)
    return expected


if __name__ == "__main__":
    main()
