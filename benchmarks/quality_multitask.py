"""Is one shared encoder as good as one encoder a task, at equal total time?

Trains the default tasks together, then each of them alone with an equal part of the time that the
joint run took, over several seeds, and compares their main metrics on the test split.

    python benchmarks/quality_multitask.py --json benchmarks/results/quality_multitask.json
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

from mtljax.presets import Config, preset
from mtljax.tasks import Task
from mtljax.training import train
from mtljax.versions import versions

PROBE_STEPS = 60
FIGURES = {
    "movie_sentiment": ("accuracy", 100.0),
    "movie_casepunct": ("micro_f1", 100.0),
    "movie_lm": ("perplexity", 1.0),
    "amazon_sentiment": ("accuracy", 100.0),
}


def run(config: Config, tasks: tuple[Task, ...]) -> dict[str, Any]:
    """The summary of one run in a directory of its own, which is thrown away."""
    with tempfile.TemporaryDirectory() as directory:
        return train(config, tasks, Path(directory) / "run")


def alone(config: Config, task: Task, seconds: float) -> dict[str, Any]:
    """The summary of a run of one task that takes about as many seconds of training."""
    probe = dataclasses.replace(config, steps=PROBE_STEPS, evaluate_every=PROBE_STEPS)
    pace = run(probe, (task,))["wall_seconds"] / (PROBE_STEPS - 1)
    steps = max(PROBE_STEPS, round(seconds / pace))
    every = max(1, steps // 10)
    return run(dataclasses.replace(config, steps=steps, evaluate_every=every), (task,))


def measure(name: str, seeds: list[int], console: Console) -> list[dict[str, Any]]:
    """A row for every seed, task and way of training."""
    rows = []
    chosen = preset(name)
    for seed in seeds:
        config = dataclasses.replace(chosen.config, seed=seed)
        joint = run(config, chosen.tasks)
        found = {"joint": joint}
        for task in chosen.tasks:
            found[task.name] = alone(config, task, joint["wall_seconds"] / len(chosen.tasks))
        for task in chosen.tasks:
            metric, factor = FIGURES[task.name]
            for way, summary in (("joint", joint), ("alone", found[task.name])):
                values = summary["tasks"][task.name]["test"]
                rows.append(
                    {
                        "task": task.name,
                        "metric": metric,
                        "way": way,
                        "baseline": "alone",
                        "seed": seed,
                        "value": factor * values[metric],
                        "plain_words": values.get("perplexity_plain_words"),
                        "steps": summary["steps"],
                        "seconds": summary["wall_seconds"],
                        "tokens_per_second": summary["tokens_per_second"],
                        "data_wait_share": summary["data_wait_share"],
                        "real_token_share": summary["real_token_share"],
                    }
                )
                console.print(rows[-1], highlight=False)
    return rows


def means(rows: list[dict[str, Any]], task: str, way: str) -> tuple[float, float]:
    """Mean and standard deviation over the seeds."""
    values = [row["value"] for row in rows if (row["task"], row["way"]) == (task, way)]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    console = Console()
    rows = measure(arguments.preset, arguments.seeds, console)
    table = Table(title=f"test split, {len(arguments.seeds)} seeds, equal total time")
    for column in ("task", "metric", "alone", "joint", "joint / alone"):
        table.add_column(column)
    ratios = {}
    for task, (metric, _) in FIGURES.items():
        (single, spread), (joint, joint_spread) = (means(rows, task, w) for w in ("alone", "joint"))
        ratios[task] = joint / single
        table.add_row(
            task,
            metric,
            f"{single:.1f} +- {spread:.1f}",
            f"{joint:.1f} +- {joint_spread:.1f}",
            f"{joint / single:.3f}",
        )
    console.print(table)
    for row in rows:
        row["ratio_of_means"] = ratios[row["task"]]
    result = {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        "shape": {"preset": arguments.preset, "seeds": arguments.seeds},
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
