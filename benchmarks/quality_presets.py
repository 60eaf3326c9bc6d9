"""Do the two presets on sentiment reach what a linear classifier reaches, and help each other?

Trains `linear` and `textbook` on both sentiment sets together and alone, over several seeds. The
baseline is TF-IDF over words and word pairs with logistic regression, fitted here.

    python benchmarks/quality_presets.py --json benchmarks/results/quality_presets.json
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from mtljax.data import load_source
from mtljax.presets import Config, preset
from mtljax.tasks import Task
from mtljax.training import train
from mtljax.versions import versions

REGULARIZATION = (0.3, 1.0, 3.0, 10.0)


def floor(dataset: str) -> float:
    """Test accuracy in percent of logistic regression, its strength chosen on validation."""
    splits = load_source(dataset).splits
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    texts = {name: [row["text"] for row in rows] for name, rows in splits.items()}
    labels = {name: [row["label"] for row in rows] for name, rows in splits.items()}
    inputs = {"train": words.fit_transform(texts["train"])}
    inputs |= {name: words.transform(texts[name]) for name in ("validation", "test")}
    fitted = [
        LogisticRegression(C=c, max_iter=1000).fit(inputs["train"], labels["train"])
        for c in REGULARIZATION
    ]
    best = max(fitted, key=lambda model: model.score(inputs["validation"], labels["validation"]))
    return 100 * best.score(inputs["test"], labels["test"])


def run(config: Config, tasks: tuple[Task, ...]) -> dict[str, Any]:
    """The summary of one run, in a directory that is thrown away."""
    with tempfile.TemporaryDirectory() as directory:
        return train(config, tasks, Path(directory) / "run")


def rows_of(name: str, seeds: list[int], floors: dict[str, float]) -> list[dict[str, Any]]:
    """A row for every seed, task and way of training of one preset."""
    rows = []
    config, tasks = preset(name)
    for seed in seeds:
        seeded = dataclasses.replace(config, seed=seed)
        for way, chosen in (("joint", tasks), *(("alone", (task,)) for task in tasks)):
            summary = run(seeded, chosen)
            for task in chosen:
                value = 100 * summary["tasks"][task.name]["test"]["accuracy"]
                rows.append(
                    {
                        "preset": name,
                        "task": task.name,
                        "way": way,
                        "seed": seed,
                        "accuracy": value,
                        "baseline": "tf-idf + logistic regression",
                        "baseline_accuracy": floors[task.source_name],
                        "ratio": value / floors[task.source_name],
                        "steps": summary["steps"],
                        "seconds": summary["wall_seconds"],
                        "data_wait_share": summary["data_wait_share"],
                    }
                )
    return rows


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--presets", nargs="+", default=["linear", "textbook"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    datasets = {task.source_name for name in arguments.presets for task in preset(name).tasks}
    floors = {dataset: floor(dataset) for dataset in sorted(datasets)}
    rows = [row for name in arguments.presets for row in rows_of(name, arguments.seeds, floors)]
    table = Table(title=f"test accuracy, {len(arguments.seeds)} seeds")
    for column in ("preset", "task", "logistic regression", "alone", "joint", "seconds (joint)"):
        table.add_column(column)
    for name in arguments.presets:
        for task in preset(name).tasks:
            mine = [row for row in rows if (row["preset"], row["task"]) == (name, task.name)]
            cells = []
            for way in ("alone", "joint"):
                values = [row["accuracy"] for row in mine if row["way"] == way]
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                cells.append(f"{statistics.fmean(values):.1f} +- {spread:.1f}")
            seconds = statistics.median(row["seconds"] for row in mine if row["way"] == "joint")
            floor_there = f"{floors[task.source_name]:.1f}"
            table.add_row(name, task.name, floor_there, *cells, f"{seconds:.0f}")
    Console().print(table)
    result = {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        "shape": {"seeds": arguments.seeds},
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
