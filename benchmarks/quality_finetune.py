"""What does a pretrained encoder reach when it is fine-tuned, one task or several at once?

Runs the preset `finetune` on prepared data sets and reports the main metrics on the test split, of
the checkpoint that is best on validation.

    python benchmarks/quality_finetune.py --pretrained MINILM --data-dir DATA \
        --only banking77 --json results/quality_finetune.json

MINILM is a directory in Hugging Face's layout, such as that of all-MiniLM-L6-v2 (22.7 M). The
sixteen domains of FDU-MTL are one benchmark, `--only fdu --fdu DIR`, with a folder a domain in DIR.
Rows of other benchmarks and seeds that the JSON file has are kept.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from mtljax.training import train
from mtljax.versions import versions

BENCHMARKS: dict[str, dict[str, Any]] = {
    "banking77": {
        "tasks": {
            "banking": {
                "dataset": "banking77",
                "kind": "classification",
                "inputs": "text",
                "targets": "label",
            }
        },
        "metrics": {"banking": "accuracy"},
        "config": {"epochs": 10, "batch": {"tokens": 1024, "row_length": 64}},
        "targets": {"banking": 92.5},
    },
    "snips": {
        "tasks": {
            "intent": {
                "dataset": "snips",
                "kind": "classification",
                "inputs": "tokens",
                "targets": "label",
            },
            "slots": {
                "dataset": "snips",
                "kind": "tagging",
                "inputs": "tokens",
                "targets": "tags",
                "loss": "crf",
            },
        },
        "metrics": {"intent": "accuracy", "slots": "span_f1"},
        "config": {"epochs": 10, "batch": {"tokens": 1024, "row_length": 64}},
        "targets": {"intent": 98.3, "slots": 95.0},
    },
    "wnut17": {
        "tasks": {
            "entities": {
                "dataset": "wnut17",
                "kind": "tagging",
                "inputs": "tokens",
                "targets": "tags",
            }
        },
        "metrics": {"entities": "span_f1"},
        "config": {"epochs": 6, "batch": {"tokens": 1024, "row_length": 128}},
        "targets": {"entities": 34.0},
    },
    "sentiment": {
        "tasks": {
            name: {"dataset": name, "kind": "classification", "inputs": "text", "targets": "label"}
            for name in ("movie_sentiment", "amazon_sentiment")
        },
        "metrics": {"movie_sentiment": "accuracy", "amazon_sentiment": "accuracy"},
        "config": {"epochs": 3, "batch": {"tokens": 1024, "row_length": 128}},
        "targets": {"movie_sentiment": 82.0, "amazon_sentiment": 82.0},
    },
    "fdu": {
        "tasks": {},  # a task for each folder of its directory
        "metrics": {},
        "config": {"epochs": 1, "batch": {"tokens": 2048, "row_length": 192}},
        "targets": {"average": 89.0},
    },
}
"""By name tasks, main metrics, settings beside those of the preset, and what is asked for."""

RATE = 1e-4


def main() -> None:
    """Measure, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pretrained", required=True, help="directory of the pretrained model")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--json", type=Path, required=True)
    usual = sorted(set(BENCHMARKS) - {"fdu"})
    parser.add_argument("--only", nargs="+", choices=sorted(BENCHMARKS), default=usual)
    parser.add_argument("--fdu", type=Path, help="directory of FDU-MTL")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, help="in place of those of each benchmark")
    parser.add_argument("--rate", type=float, default=RATE, help="learning rate of the encoder")
    arguments = parser.parse_args()
    if "fdu" in arguments.only and arguments.fdu is None:
        parser.error("--fdu: name the directory of FDU-MTL")
    console, rows = Console(), []
    if arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    for name in arguments.only:
        benchmark = of_domains(arguments.fdu) if name == "fdu" else BENCHMARKS[name]
        for seed in arguments.seeds:
            rows = [row for row in rows if (row["benchmark"], row["seed"]) != (name, seed)]
            rows += measure(name, benchmark, seed, arguments, console)
            result = {
                "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
                "versions": versions(),
                "rows": rows,
            }
            arguments.json.write_text(json.dumps(result, indent=1) + "\n")
        report(name, benchmark, [row for row in rows if row["benchmark"] == name], console)


def of_domains(directory: Path) -> dict[str, Any]:
    """The benchmark of FDU-MTL: a task for each of its domains."""
    domains = sorted(path.parent.name for path in directory.glob("*/train.jsonl"))
    splits = {split: f"{split}.jsonl" for split in ("train", "validation", "test")}
    task = {"kind": "classification", "inputs": "text", "targets": "label"}
    return {
        **BENCHMARKS["fdu"],
        "sources": {
            name: {"path": str((directory / name).resolve()), "splits": splits} for name in domains
        },
        "tasks": {name: {**task, "dataset": name} for name in domains},
        "metrics": dict.fromkeys(domains, "accuracy"),
    }


def report(
    name: str, benchmark: dict[str, Any], rows: list[dict[str, Any]], console: Console
) -> None:
    """Print mean and spread over seeds of each task, or of the mean over tasks."""
    for task, target in benchmark["targets"].items():
        by_seed: dict[int, list[float]] = {}
        for row in rows:
            if task in (row["task"], "average"):
                by_seed.setdefault(row["seed"], []).append(row["value"])
        values = [statistics.fmean(found) for found in by_seed.values()]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        console.print(f"{name} {task}: {statistics.fmean(values):.1f} +- {spread:.1f} ({target})")


def measure(
    name: str, benchmark: dict[str, Any], seed: int, arguments: Any, console: Console
) -> list[dict[str, Any]]:
    """A row for each task of a benchmark."""
    config = {
        **benchmark["config"],
        "preset": "finetune",
        "seed": seed,
        "encoder": {"pretrained": arguments.pretrained},
        "optimizer": {"learning_rate": arguments.rate},
    }
    if arguments.epochs:
        config["epochs"] = arguments.epochs
    with tempfile.TemporaryDirectory() as directory:
        summary = train(
            config,
            {"tasks": benchmark["tasks"], "sources": benchmark.get("sources", {})},
            Path(directory) / "run",
            data_dir=arguments.data_dir,
            console=console,
        )
    rows = []
    for task, metric in benchmark["metrics"].items():
        values = summary["tasks"][task]
        rows.append(
            {
                "benchmark": name,
                "task": task,
                "metric": metric,
                "seed": seed,
                "value": 100 * values["test"][metric],
                "validation": 100 * values["validation"][metric],
                "target": benchmark["targets"].get(task),
                "steps": summary["steps"],
                "best_step": summary["best_step"],
                "seconds": summary["wall_seconds"],
                "epochs": summary["epochs"][task],
                "rate": arguments.rate,
            }
        )
        console.print(rows[-1], highlight=False)
    return rows


if __name__ == "__main__":
    main()
