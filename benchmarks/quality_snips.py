"""What does one bidirectional encoder reach on intents and slots of SNIPS, in two minutes?

Runs the command of `docs/recipes/snips.md` over several seeds. The baselines are the figures of
Slot-Gated (Goo et al. 2018), trained from scratch on the same split.

    python benchmarks/quality_snips.py --data-dir DATA --json benchmarks/results/quality_snips.json
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import jax
from rich.console import Console

from mtljax.cli.train import read_options
from mtljax.training import train
from mtljax.training.summary import versions

RECIPE = Path(__file__).resolve().parent.parent / "docs" / "recipes"
BASELINE = {"intent": ("accuracy", 97.0), "slots": ("span_f1", 88.8)}


def command() -> list[str]:
    """The arguments of `mtljax train` in the recipe."""
    text = (RECIPE / "snips.md").read_text(encoding="utf-8")
    block = text.split("scripts/mtljax train", 1)[1].split("```", 1)[0]
    return block.replace("\\\n", " ").split()


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    console = Console()
    rows = []
    for seed in arguments.seeds:
        words = [str(RECIPE / "snips.yaml") if w.endswith("snips.yaml") else w for w in command()]
        options, tasks = read_options([*words, "--seed", str(seed)])
        with tempfile.TemporaryDirectory() as directory:
            run_dir = Path(directory) / "run"
            summary = train(options.config, tasks, run_dir, data_dir=arguments.data_dir)
        for task, (metric, baseline) in BASELINE.items():
            value = 100 * summary["tasks"][task]["test"][metric]
            rows.append(
                {
                    "task": task,
                    "metric": metric,
                    "seed": seed,
                    "value": value,
                    "baseline": "Slot-Gated, Goo et al. 2018",
                    "baseline_value": baseline,
                    "ratio": value / baseline,
                    "seconds": summary["wall_seconds"],
                    "tokens_per_second": summary["tokens_per_second"],
                    "data_wait_share": summary["data_wait_share"],
                }
            )
            console.print(rows[-1], highlight=False)
    for task, (metric, baseline) in BASELINE.items():
        mean = statistics.fmean(row["value"] for row in rows if row["task"] == task)
        console.print(f"{task} {metric}: {mean:.1f} (baseline {baseline})")
    result = {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        "shape": {"seeds": arguments.seeds, "command": command()},
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
