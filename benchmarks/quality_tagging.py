"""Do a conditional random field, constraints and characters make better taggers, at equal steps?

Slots of SNIPS, parts of speech of the English Web Treebank and entities of W-NUT 2017, each alone,
with one bidirectional LSTM; test figures of the checkpoint that is best on validation.
`constrained` is the run of `word by word`, its tags then chosen by the scheme. The baselines are
those of the data: CRFs over hand-made features, and an averaged perceptron for parts of speech.

    python benchmarks/quality_tagging.py --data-dir DATA --json results/quality_tagging.json
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

from mtljax import load_run
from mtljax.data import load_data
from mtljax.training import train
from mtljax.training.evaluation import Evaluator
from mtljax.training.model import build_model, data_options
from mtljax.versions import versions

SETS = {
    "snips": ("span_f1", "CRF", 92.2),
    "ud_ewt": ("accuracy", "averaged perceptron", 94.7),
    "wnut17": ("span_f1", "CRF", 11.2),
}
BASE: dict[str, Any] = {
    "batch": {"tokens": 1024},
    "encoder": {"features": 256, "dropout": 0.5},
    "heads": {"tag_hidden": 0, "tag_dropout": 0.5},
    "optimizer": {"learning_rate": 0.003},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "word by word": {},
    "constrained": {},
    "crf": {"task": {"loss": "crf"}},
    "characters": {"config": {"tokenizer": {"characters": 12}}},
    "crf and characters": {
        "task": {"loss": "crf"},
        "config": {"tokenizer": {"characters": 12}},
    },
}


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [
        {**row, "set": name, "seed": seed}
        for name in options.sets
        for seed in range(options.seeds)
        for row in measured(name, seed, options)
    ]
    show(rows)
    if options.json:
        device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        about = {"steps": options.steps, "device": device, "versions": versions()}
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


def measured(name: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of a set in percent, by variant."""
    metric, baseline, floor = SETS[name]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for variant in options.only:
            run = Path(folder) / variant.replace(" ", "-")
            if variant == "constrained":
                if metric != "span_f1" or "word by word" not in options.only:
                    continue
                found = constrained(Path(folder) / "word-by-word", options.data_dir)
                seconds = None
            else:
                task = {"dataset": name, "kind": "tagging", "inputs": "tokens", "targets": "tags"}
                task |= VARIANTS[variant].get("task", {})
                config = {**BASE, "seed": seed, "steps": options.steps}
                for part, fields in VARIANTS[variant].get("config", {}).items():
                    config[part] = {**config.get(part, {}), **fields}
                config["evaluate_every"] = options.steps // 10
                summary = train(
                    config,
                    {"tasks": {"tags": task}},
                    run,
                    data_dir=options.data_dir,
                    console=Console(quiet=True),
                )
                found = summary["tasks"]["tags"]
                seconds = summary["wall_seconds"]
            rows.append(
                {
                    "variant": variant,
                    "metric": metric,
                    **{split: 100 * found[split][metric] for split in ("validation", "test")},
                    "seconds": seconds,
                    "baseline": baseline,
                    "baseline_value": floor,
                }
            )
            print(name, seed, json.dumps(rows[-1]), flush=True)
    return rows


def constrained(directory: Path, data_dir: str) -> dict[str, dict[str, float]]:
    """The metrics of a run whose tags are chosen by the scheme, by split."""
    run = load_run(directory)
    tasks = tuple(dataclasses.replace(task, constrained=True) for task in run.tasks)
    data = load_data(
        tasks, data_options(run.config, tasks), data_dir=data_dir, tokenizer=run.tokenizer
    )
    model = build_model(run.config, data.layout)
    evaluate = Evaluator(model, data)
    return {split: evaluate(run.params, split)["tags"] for split in ("validation", "test")}


def show(rows: list[dict[str, Any]]) -> None:
    """The means over seeds, set by set."""
    table = Table("set", "tags", "validation", "test", "seeds", "baseline")
    for key in dict.fromkeys((row["set"], row["variant"]) for row in rows):
        own = [row for row in rows if (row["set"], row["variant"]) == key]
        means = [statistics.mean(row[split] for row in own) for split in ("validation", "test")]
        seeds = " ".join(f"{row['test']:.1f}" for row in own)
        floor = f"{own[0]['baseline']} {own[0]['baseline_value']}"
        table.add_row(*key, *(f"{mean:.1f}" for mean in means), seeds, floor)
    Console().print(table)


if __name__ == "__main__":
    main()
