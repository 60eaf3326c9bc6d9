"""Is what the data chooses, with nothing but tasks, ahead of a simple model of each set?

Trains the preset `auto` on sets of sentiment, intents, slots, tags, entities and addresses, and on
review domains that nothing was chosen by; test figures of the checkpoint that is best on
validation. The baselines are linear models, CRFs and an averaged perceptron on the same splits.
With `--tune`, a search within that budget begins from the same settings. Rows of other sets, seeds
and ways that the JSON file has are kept.

    python benchmarks/quality_auto.py --data-dir DATA --json results/quality_auto.json
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.table import Table

from mtljax.cli.tune import seconds_of
from mtljax.presets import read_automatic
from mtljax.studies import tune
from mtljax.tasks import parse_tasks
from mtljax.training import train
from mtljax.training.persistence import run_directory
from mtljax.versions import versions

LINEAR, CRF = "TF-IDF + logistic regression", "CRF"


class Floor(NamedTuple):
    """What a simple model reaches on the test split of a task, in percent."""

    metric: str
    model: str
    value: float


class Set(NamedTuple):
    """Tasks that are trained together, and what simple models reach."""

    tasks: dict[str, dict[str, Any]]
    floors: dict[str, Floor]


def _whole(dataset: str) -> dict[str, Any]:
    return {"dataset": dataset, "kind": "classification", "inputs": "text", "targets": "label"}


def _tags(dataset: str) -> dict[str, Any]:
    return {"dataset": dataset, "kind": "tagging", "inputs": "tokens", "targets": "tags"}


SENTIMENT = {
    "nyt_sentiment": 63.7,
    "tweet_sentiment": 84.6,
    "movie_sentiment": 78.1,
    "amazon_sentiment": 71.8,
}
SETS = {
    "sentiment": Set(
        {name: _whole(name) for name in SENTIMENT},
        {name: Floor("accuracy", LINEAR, value) for name, value in SENTIMENT.items()},
    ),
    "banking77": Set(
        {"banking": _whole("banking77")}, {"banking": Floor("accuracy", LINEAR, 89.2)}
    ),
    "us_address": Set({"words": _tags("us_address")}, {"words": Floor("accuracy", CRF, 90.6)}),
    "wnut17": Set({"entities": _tags("wnut17")}, {"entities": Floor("span_f1", CRF, 11.2)}),
    "snips": Set(
        {"intent": {**_whole("snips"), "inputs": "tokens"}, "slots": _tags("snips")},
        {"intent": Floor("accuracy", LINEAR, 97.6), "slots": Floor("span_f1", CRF, 92.2)},
    ),
    "ud_ewt": Set(
        {"pos": _tags("ud_ewt")}, {"pos": Floor("accuracy", "averaged perceptron", 94.7)}
    ),
}
DOMAINS = {"electronics": 86.0, "books": 83.8, "mr": 69.0, "software": 84.0, "apparel": 87.2}


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--domains", help="directory of FDU-MTL, a folder a domain")
    parser.add_argument("--sets", nargs="+", choices=[*SETS, *DOMAINS], default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tune", help="budget of a search, such as 10m")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    for name in options.sets:
        for seed in options.seeds:
            rows = measured(name, seed, options)
            kept = json.loads(options.json.read_text())["rows"] if options.json.exists() else []
            ours = {(row["set"], row["seed"], row["way"]) for row in rows}
            kept = [row for row in kept if (row["set"], row["seed"], row["way"]) not in ours]
            device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
            about = {"device": device, "versions": versions()}
            content = {"about": about, "rows": [*kept, *rows]}
            options.json.write_text(json.dumps(content, indent=1) + "\n")
    show(json.loads(options.json.read_text())["rows"])


def measured(name: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of a set, in percent."""
    chosen = SETS[name] if name in SETS else domain(name, options.domains)
    content: dict[str, Any] = {"tasks": chosen.tasks}
    if name in DOMAINS:
        splits = {split: f"{split}.jsonl" for split in ("train", "validation", "test")}
        path = str(Path(options.domains).resolve() / name)
        content["sources"] = {name: {"path": path, "splits": splits}}
    tasks = parse_tasks(content, Path.cwd())
    said = {"preset": "auto", "seed": seed}
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        if options.tune:
            config, tasks, _ = read_automatic(said, tasks, options.data_dir)
            budget = seconds_of(options.tune)
            found = tune(config, tasks, run, seconds=budget, data_dir=options.data_dir)
            summary = run_directory.read_summary(run / found.best.name)
            assert summary is not None
        else:
            summary = train(said, tasks, run, data_dir=options.data_dir)
    rows = []
    for task, floor in chosen.floors.items():
        values = summary["tasks"][task]
        splits = ("validation", "test")
        rows.append(
            {
                "set": name,
                "task": task,
                "seed": seed,
                "way": f"tuned {options.tune}" if options.tune else "auto",
                "metric": floor.metric,
                **{split: round(100 * values[split][floor.metric], 2) for split in splits},
                "baseline": floor.model,
                "baseline_value": floor.value,
                "steps": summary["steps"],
                "cpu_seconds": round(time.process_time() - began),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def domain(name: str, directory: str | None) -> Set:
    """One review domain, with a linear model of it alone."""
    if directory is None:
        raise SystemExit("--domains: name the directory of FDU-MTL")
    return Set({name: _whole(name)}, {name: Floor("accuracy", LINEAR, DOMAINS[name])})


def show(rows: list[dict[str, Any]]) -> None:
    """All rows, one line each."""
    table = Table("set", "task", "way", "seed", "metric", "validation", "test", "baseline")
    for row in rows:
        figures = (f"{row[split]:.1f}" for split in ("validation", "test"))
        floor = f"{row['baseline']} {row['baseline_value']}"
        names = (row["set"], row["task"], row["way"], str(row["seed"]), row["metric"])
        table.add_row(*names, *figures, floor)
    Console().print(table)


if __name__ == "__main__":
    main()
