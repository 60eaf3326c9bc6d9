"""What do models that write reach: descriptions of restaurants, Shakespeare, film reviews?

Runs the recipes below, each with some seeds, and measures what the page on generation reports. A
recipe whose command is on a page of `docs/recipes` is read from there. Rows are written as they are
measured; with `--keep` those that the JSON has already are left as they are, so that more seeds and
recipes can follow later, and with `--runs` a training that was cut off goes on.

    python benchmarks/quality_generation.py e2e shakespeare --data-dir DATA \
        --json benchmarks/results/quality_generation.json --keep
"""

import argparse
import json
import math
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import consensus_texts
import jax
from rich.console import Console
from rich.table import Table

from mtljax.cli.train import read_options
from mtljax.inference import Run, load_run
from mtljax.training import train
from mtljax.versions import versions

PAGES = Path(__file__).resolve().parent.parent / "docs" / "recipes"

OTHERS = {
    "e2e_nlg": ("retrieval", {"bleu": 42.2}),
    "movie_lm": ("Kneser-Ney 5-gram", {"perplexity": 161.0}),
    "tiny_shakespeare": ("nanoGPT, recipe for a CPU", {"nats": 1.88}),
    "snips": ("Slot-Gated, Goo et al. 2018", {"accuracy": 97.0, "span_f1": 88.8}),
}
"""By data set the simple or published model beside it, and its figures."""


class Recipe(NamedTuple):
    """What is trained.

    Attributes:
      page: page of `docs/recipes` with the command; None where `options` are all.
      options: of `mtljax train`, which come after those of the page.
      split: that is measured.
      teacher: recipe of the model that writes what is trained on; see `consensus_texts`.
      length_penalty: of the beam.
    """

    page: str | None
    options: Sequence[str] = ()
    split: str = "test"
    teacher: str | None = None
    length_penalty: float = 1.0


# A step reads 16 rows of descriptions, 3 of SNIPS and 3 of reviews, together or each alone.
OFTEN = ("--evaluate-every", "250")
JOINT = (
    *("--tasks", "e2e_joint.yaml", "--batch.tokens", "2816", "--heads.negatives", "2048"),
    *OFTEN,
)
SNIPS = ("--tasks", "e2e_snips.yaml", "--batch.tokens", "384", *OFTEN)
REVIEWS = (
    *("--tasks", "e2e_movie_lm.yaml", "--batch.tokens", "384", "--heads.negatives", "2048"),
    *OFTEN,
)
KEEP = 3
DISTILLED = ("--tasks", "e2e_distilled.yaml", "--steps", "2500")
RECIPES = {
    "e2e": Recipe("e2e"),
    "e2e_long": Recipe("e2e", ("--steps", "6000")),
    "e2e_decoder": Recipe("e2e", ("--decoder.layers", "2", "--encoder.layers", "2")),
    "e2e_joint": Recipe("e2e", JOINT),
    "e2e_distilled": Recipe("e2e", DISTILLED, teacher="e2e"),
    "e2e_distilled_twice": Recipe("e2e", DISTILLED, teacher="e2e_distilled", length_penalty=1.2),
    "e2e_snips": Recipe("e2e", SNIPS),
    "e2e_movie_lm": Recipe("e2e", REVIEWS),
    "shakespeare": Recipe("shakespeare", split="validation"),
    "movie_lm": Recipe(None, ("--preset", "small")),
}
"""By name; a recipe's own options win over those of its page."""


def options_of(recipe: Recipe, seed: int, pages: Path = PAGES) -> list[str]:
    """The arguments of `mtljax train`, with the tasks files that lie in `pages`."""
    words: list[str] = []
    if recipe.page:
        text = (PAGES / f"{recipe.page}.md").read_text(encoding="utf-8")
        block = text.split("scripts/mtljax train", 1)[1].split("```", 1)[0]
        words = block.replace("\\\n", " ").split()
    # A later option does not simply win: of one that takes several values both would count.
    for name in recipe.options:
        if name.startswith("--") and name in words:
            at = words.index(name)
            end = next((i for i in range(at + 1, len(words)) if words[i][:2] == "--"), len(words))
            del words[at:end]
    words += [*recipe.options, "--seed", str(seed)]
    return [str(pages / Path(word).name) if word.endswith(".yaml") else word for word in words]


def fit(name: str, seed: int, data_dir: str, runs: Path) -> tuple[Run, list[str], dict[str, Any]]:
    """Train a recipe, after its teacher: the run, the arguments and the summary."""
    recipe, pages = RECIPES[name], PAGES
    if recipe.teacher:
        pages = runs / f"{name}-data{seed}"
        tasks_file = pages / DISTILLED[1]
        if not tasks_file.exists():
            teacher, *_ = fit(recipe.teacher, seed, data_dir, runs)
            consensus_texts.write("e2e_nlg", teacher, data_dir, tasks_file.with_suffix(""), KEEP)
            shutil.copy(PAGES / tasks_file.name, tasks_file)
    arguments = options_of(recipe, seed, pages)
    options, tasks = read_options([*arguments, "--data-dir", data_dir])
    directory = runs / f"{name}-seed{seed}"
    console = Console(stderr=True)
    summary = train(options.config, tasks, directory, data_dir=data_dir, console=console)
    return load_run(str(directory)), arguments, summary


def measure(name: str, seed: int, data_dir: str, runs: Path) -> dict[str, Any]:
    """The row of one recipe and seed."""
    recipe = RECIPES[name]
    run, arguments, summary = fit(name, seed, data_dir, runs)
    values, seconds = {}, {}
    writes = any(task.kind == "text_to_text" for task in run.tasks)
    for beam in (0, 4) if writes else (0,):
        begin = time.perf_counter()
        found = run.evaluate(
            recipe.split,
            data_dir,
            generate=writes,
            beam=beam,
            length_penalty=recipe.length_penalty,
        )
        seconds[f"beam {beam}" if beam else "greedy"] = time.perf_counter() - begin
        for task in run.tasks:
            for metric, value in figures(found[task.name]).items():
                label = f"{metric}, beam {beam}" if beam and metric in _WRITTEN else metric
                values.setdefault(task.name, {}).setdefault(label, value)
    return {
        "recipe": name,
        "seed": seed,
        "split": recipe.split,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(run.params)),
        "device": summary["device"],
        "steps": summary["steps"],
        "best_step": summary["best_step"],
        "seconds": summary["wall_seconds"],
        "compile_seconds": summary["compile_seconds"],
        "evaluate_seconds": {way: round(value, 1) for way, value in seconds.items()},
        "tokens_per_second": summary["tokens_per_second"],
        "real_token_share": summary["real_token_share"],
        "epochs": summary["epochs"],
        "tasks": {task.name: of_task(run, task.name, values[task.name]) for task in run.tasks},
        "command": [Path(word).name if word.endswith(".yaml") else word for word in arguments],
    }


_WRITTEN = (
    "bleu",
    "chrf",
    "rouge_l",
    "distinct_1",
    "distinct_2",
    "repetition_4",
)
_SHARES = ("accuracy", "micro_f1", "span_f1")


def figures(values: Mapping[str, float]) -> dict[str, float]:
    """Metric values, shares as percentages, and the nats of a token."""
    found = {name: 100 * v if name in _SHARES else v for name, v in values.items()}
    if "perplexity" in values:
        found["nats"] = math.log(values["perplexity"])
    return found


def of_task(run: Run, task: str, values: dict[str, float]) -> dict[str, Any]:
    """Values of a task, what it is measured against, and the ratios."""
    dataset = next(one.source_name for one in run.tasks if one.name == task)
    name, known = OTHERS.get(dataset, (None, {}))
    ratios = {
        metric: value / known[metric.split(",")[0]]
        for metric, value in values.items()
        if metric.split(",")[0] in known
    }
    classes = run.layout.outputs[task].num_classes
    return {"values": values, "classes": classes, "baseline": name, "ratios": ratios}


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the JSON, whole or not at all."""
    result = {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        "shape": {"cores": len(os.sched_getaffinity(0))},
        "rows": rows,
    }
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(json.dumps(result, indent=1) + "\n")
    draft.replace(path)


def table_of(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Means, and standard deviations over the seeds there are."""
    table = Table(title="what models that write reach")
    for column in ("recipe", "task", "metric", "seeds", "value", "other", "seconds"):
        table.add_column(column)
    for name in dict.fromkeys(row["recipe"] for row in rows):
        mine = [row for row in rows if row["recipe"] == name]
        seconds = statistics.median(row["seconds"] for row in mine)
        for task, own in mine[0]["tasks"].items():
            for metric in own["values"]:
                values = [row["tasks"][task]["values"][metric] for row in mine]
                spread = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
                ratio = own["ratios"].get(metric)
                other = f"{own['values'][metric] / ratio:.2f}" if ratio else ""
                value = f"{statistics.fmean(values):.2f}{spread}"
                table.add_row(name, task, metric, str(len(mine)), value, other, f"{seconds:.0f}")
    return table


def main() -> None:
    """Measure, write the JSON, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="+", choices=sorted(RECIPES))
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", action="store_true", help="measure only what the JSON lacks")
    parser.add_argument("--runs", type=Path, help="where runs are kept; by default nowhere")
    arguments = parser.parse_args()
    rows = []
    if arguments.keep and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    done = {(row["recipe"], row["seed"]) for row in rows}
    with tempfile.TemporaryDirectory() as directory:
        for seed in arguments.seeds:
            for name in arguments.recipes:
                if (name, seed) in done:
                    continue
                runs = arguments.runs or Path(directory)
                rows.append(measure(name, seed, arguments.data_dir, runs))
                write(arguments.json, rows)
    Console().print(table_of(rows))


if __name__ == "__main__":
    main()
