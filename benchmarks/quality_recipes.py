"""What do the recipes of `docs/recipes` reach on their test splits?

Runs the command of a recipe's page over several seeds. The baselines are figures published for
models trained from scratch on the same splits, or else linear models and CRFs over the same data.

    python benchmarks/quality_recipes.py snips --data-dir DATA --json results/quality_snips.json
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
from mtljax.versions import versions

RECIPES = Path(__file__).resolve().parent.parent / "docs" / "recipes"
BASELINES = {
    "snips": {
        "intent": ("accuracy", "Slot-Gated, Goo et al. 2018", 97.0),
        "slots": ("span_f1", "Slot-Gated, Goo et al. 2018", 88.8),
    },
    "five": {
        "intent": ("accuracy", "TF-IDF + logistic regression", 97.6),
        "slots": ("span_f1", "CRF", 92.2),
        "pos": ("accuracy", "averaged perceptron", 94.7),
        "entities": ("span_f1", "CRF", 11.2),
        "banking": ("accuracy", "TF-IDF + logistic regression", 89.2),
        "opinion": ("accuracy", "TF-IDF + logistic regression", 63.7),
    },
}


def command(recipe: str) -> list[str]:
    """The arguments of `mtljax train` on a recipe's page."""
    text = (RECIPES / f"{recipe}.md").read_text(encoding="utf-8")
    block = text.split("scripts/mtljax train", 1)[1].split("```", 1)[0]
    return block.replace("\\\n", " ").split()


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", choices=sorted(BASELINES))
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    console = Console()
    baselines = BASELINES[arguments.recipe]
    words = [
        str(RECIPES / Path(word).name) if word.endswith(".yaml") else word
        for word in command(arguments.recipe)
    ]
    rows = []
    for seed in arguments.seeds:
        options, tasks = read_options([*words, "--seed", str(seed)])
        with tempfile.TemporaryDirectory() as directory:
            run_dir = Path(directory) / "run"
            summary = train(options.config, tasks, run_dir, data_dir=arguments.data_dir)
        for task, (metric, name, baseline) in baselines.items():
            value = 100 * summary["tasks"][task]["test"][metric]
            rows.append(
                {
                    "task": task,
                    "metric": metric,
                    "seed": seed,
                    "value": value,
                    "baseline": name,
                    "baseline_value": baseline,
                    "ratio": value / baseline,
                    "seconds": summary["wall_seconds"],
                    "tokens_per_second": summary["tokens_per_second"],
                    "data_wait_share": summary["data_wait_share"],
                    "real_token_share": summary["real_token_share"],
                    "epochs": summary["epochs"][task],
                }
            )
            console.print(rows[-1], highlight=False)
    for task, (metric, name, baseline) in baselines.items():
        values = [row["value"] for row in rows if row["task"] == task]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        console.print(
            f"{task} {metric}: {statistics.fmean(values):.1f} +- {spread:.1f} ({name}: {baseline})"
        )
    result = {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        "shape": {"seeds": arguments.seeds, "command": command(arguments.recipe)},
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
