"""How far should heads of tasks with the same classes go together, where texts are few?

Sentiment in sixteen domains (FDU-MTL), a few texts of each to train on, another sample a seed, by
the preset `linear`: heads of their own, heads that are drawn together, one head with and without
parts of their own, and all texts as one task. The figure is the mean accuracy on the sixteen test
splits, of the checkpoint that is best on validation; differences are from heads of their own, with
the same texts and seed, and have 95 % intervals over the seeds (Student's t).

    python benchmarks/quality_heads.py --fdu DIR --json benchmarks/results/quality_heads.json

DIR has `DOMAIN/train.jsonl`, `validation.jsonl` and `test.jsonl`: objects with `text` and `label`.
"""

import argparse
import json
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mtljax.training import train
from mtljax.versions import versions

BASE: dict[str, Any] = {"preset": "linear", "batch": {"tokens": 8192, "row_length": 128}}
TASK = {"kind": "classification", "inputs": "text", "targets": "label"}
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Quantiles for 95 % of differences of so many seeds."""

VARIANTS: dict[str, dict[str, Any]] = {
    "heads of their own": {},
    "drawn together, 0.01": {"config": {"regularizer": {"heads_together": 0.01}}},
    "drawn together, 1": {"config": {"regularizer": {"heads_together": 1.0}}},
    "one head": {"task": {"head": "mood"}},
    "one head and own parts": {"task": {"head": "mood", "own_head": True}},
    "one task": {"pooled": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fdu", type=Path, required=True, metavar="DIR")
    parser.add_argument("--texts", type=int, default=200, help="texts of each domain to train on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = [name for name in VARIANTS if name in options.only]
    found: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            sources = sample(options.fdu, Path(folder) / f"texts-{seed}", options.texts, seed)
            for number, name in enumerate(names):
                run = Path(folder) / f"run-{number}-{seed}"
                found[name].append(accuracy(VARIANTS[name], sources, run, seed, options.steps))
                print(f"seed {seed}  {name}: {100 * found[name][-1]:.2f}", flush=True)
    rows = [row(name, found) for name in names]
    show(rows, options)
    if options.json:
        about = {"texts": options.texts, "steps": options.steps, "versions": versions()}
        options.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


def sample(fdu: Path, folder: Path, texts: int, seed: int) -> dict[str, Any]:
    """The sources of a tasks file: of each domain so many texts to train on, all others as is."""
    sources = {}
    for path in sorted(fdu.glob("*/train.jsonl")):
        domain, lines = path.parent.name, path.read_text(encoding="utf-8").splitlines()
        chosen = random.Random(f"{seed} {domain}").sample(lines, texts)
        folder.mkdir(parents=True, exist_ok=True)
        train_file = folder / f"{domain}.jsonl"
        train_file.write_text("\n".join(chosen) + "\n", encoding="utf-8")
        splits = {"train": str(train_file.resolve())}
        splits |= {
            split: str((path.parent / f"{split}.jsonl").resolve())
            for split in ("validation", "test")
        }
        sources[domain] = {"splits": splits}
    return sources


def accuracy(
    variant: dict[str, Any], sources: dict[str, Any], run: Path, seed: int, steps: int
) -> float:
    """The mean accuracy of a run on the test splits, which all have as many texts."""
    names = list(sources)
    tasks = {name: {"dataset": name, **TASK, **variant.get("task", {})} for name in names}
    if variant.get("pooled"):
        tasks = {"all": {"dataset": names, **TASK}}
    config = {**BASE, **variant.get("config", {}), "seed": seed, "steps": steps}
    console = Console(quiet=True)
    summary = train(config, {"sources": sources, "tasks": tasks}, run, console=console)
    return statistics.mean(of["test"]["accuracy"] for of in summary["tasks"].values())


def row(name: str, found: dict[str, list[float]]) -> dict[str, Any]:
    """The accuracies of a variant in percent, and its difference from the first one."""
    values, base = found[name], next(iter(found.values()))
    differences = [100 * (a - b) for a, b in zip(values, base, strict=True)]
    count = len(differences)
    interval = None
    if count in STUDENT:
        interval = STUDENT[count] * statistics.stdev(differences) / count**0.5
    return {
        "variant": name,
        "baseline": next(iter(found)),
        "accuracy": 100 * statistics.mean(values),
        "seeds": [100 * value for value in values],
        "difference": statistics.mean(differences),
        "interval": interval,
    }


def show(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    title = f"{options.texts} texts a domain, {options.seeds} seeds: mean accuracy, %"
    table = Table("heads", title=title, title_justify="left")
    for column in ("accuracy", f"less {rows[0]['variant']}"):
        table.add_column(column, justify="right")
    for each in rows:
        interval = "" if each["interval"] is None else f" ± {each['interval']:.1f}"
        table.add_row(
            each["variant"], f"{each['accuracy']:.1f}", f"{each['difference']:+.1f}{interval}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
