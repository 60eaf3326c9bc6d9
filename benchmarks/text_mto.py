"""Does a multi-objective method beat tuned static weights on text, and at which cost?

Three suites: `mixed` (intents and slots of SNIPS, tags of UD English EWT, entities of W-NUT 2017,
banking77), `fdu` (sentiment in sixteen domains) and `writing` (slots, film reviews as a language
model, restaurant descriptions from meanings), each by one small encoder. Every method has the same
search: three learning rates, one seed, the best score on validation. Static weights have twelve
runs: the three rates with equal weights, then nine random draws of weights at the best of them.
What was chosen is trained anew with other seeds, if its score is within two points of that of
static weights; so is each task alone, in as many steps of its share of the tokens, so that all
take as long together as the joint run.

    python benchmarks/text_mto.py --data-dir DATA --fdu FDU-MTL --work WORK

Goes on where it was left: `results/text_mto/SUITE.json` has a row for each run, `WORK` what each
text of the test split was answered, of which `--report` makes intervals and the table.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from mto_report import EQUAL, NEAR, markdown, report, show
from mto_runs import STATIC, Setting, trainer
from mto_suites import SUITES, load, names_of
from rich.console import Console

from mtljax.errors import UserError
from mtljax.versions import versions

ALONE, DRAWS = "alone", 9
METHODS = (
    *("uncertainty", "dwa", "uw_so", "famo", "imtl_l", "geometric", "random", "stch", "go4align"),
    *("mgda", "pcgrad", "cagrad", "upgrad", "imtl_g", "nash_mtl", "aligned_mtl", "fairgrad"),
    *("db_mtl", "config", "dual_proj", "gradvac", "gradnorm", "sdmgrad", "conic_grad", "graddrop"),
    *("moco", "coba", "excess_mtl", "forum", "ldc_mtl", "modo", "auto_lambda", "moml"),
    *("trimmed_mean", "krum", "pcd", "cosmos", "pbi"),
)


class Rows:
    """The rows of a suite in its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []
        if path.exists():
            self._rows = json.loads(path.read_text())["runs"]

    def find(self, **key: Any) -> list[dict[str, Any]]:
        return [row for row in self._rows if all(row.get(k) == v for k, v in key.items())]

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        device = f"one core of {jax.devices()[0].device_kind}"
        content = {"about": {"device": device, "versions": versions()}, "runs": self._rows}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(partial, self._path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--fdu", type=Path, help="directory of FDU-MTL, a folder a domain")
    parser.add_argument("--work", type=Path, required=True, help="for the answers of each run")
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--methods", nargs="+", default=[EQUAL, STATIC, ALONE, *METHODS])
    parser.add_argument("--seeds", type=int, default=5, help="of what was chosen")
    parser.add_argument("--report", action="store_true", help="of the runs that are there")
    parser.add_argument(
        "--markdown", action="store_true", help="print it for the documentation too"
    )
    results = Path(__file__).parent / "results" / "text_mto"
    parser.add_argument("--results", type=Path, default=results)
    options = parser.parse_args()
    console = Console()
    for suite in options.suites:
        path = options.results / f"{suite}.json"
        if options.report:
            if path.exists():
                content = report(path, options.work / suite)
                show(suite, content, console)
                print(markdown(content) if options.markdown else "")
            continue
        if not SUITES[suite].tasks and not names_of(suite, options.fdu):
            parser.error(f"suite {suite}: --fdu names no directory with TASK/train.jsonl")
        rows = Rows(path)
        for method in options.methods:
            for line in run_method(suite, method, rows, options):
                console.print(f"{suite}  {line}", highlight=False)


def run_method(suite: str, method: str, rows: Rows, options: argparse.Namespace) -> Iterator[str]:
    """The runs of a method that are not there yet; a line for each."""
    tasks = names_of(suite, options.fdu) if method == ALONE else [None]
    for task in tasks:
        try:
            yield from _searched(suite, method, task, rows, options)
        except (UserError, ValueError) as error:
            if not rows.find(method=method, stage="refused"):
                rows.add({"method": method, "stage": "refused", "why": str(error)})
            yield f"{method}: cannot be had here: {error}"


def _searched(
    suite: str, method: str, task: str | None, rows: Rows, options: argparse.Namespace
) -> Iterator[str]:
    made: list[Any] = []

    def run(stage: str, setting: Setting) -> dict[str, Any]:
        weights = list(setting.weights)
        key = {"method": method, "task": task, "stage": stage, "rate": setting.rate}
        key |= {"seed": setting.seed, "weights": weights}
        if found := rows.find(**key):
            return found[0]
        if not made:  # compiled where a run is missing
            loaded = load(suite, options.data_dir, options.fdu, task)
            made.append(trainer(loaded, STATIC if method in (ALONE, EQUAL) else method))
        train, megabytes = made[0]
        trained = train(setting)
        row = {
            **key,
            "score": trained.score if np.isfinite(trained.score) else None,
            "step": trained.step,
            "milliseconds": round(trained.milliseconds, 3),
            "megabytes": round(megabytes, 1),
            "test": {name: one.value() for name, one in trained.test.items()},
        }
        if stage == "seeds":
            _keep(options.work / suite, row, trained.test)
        rows.add(row)
        return row

    def told(stage: str, row: dict[str, Any]) -> str:
        where = f"{method} {task or ''}".strip()
        score = "nothing finite" if row["score"] is None else f"{row['score']:.4f}"
        return f"{where}  {stage}, rate {row['rate']}, seed {row['seed']}: {score}"

    tried = []
    for rate in SUITES[suite].rates:
        tried.append(run("search", Setting(rate, 0)))
        yield told("search", tried[-1])
    if method == STATIC:
        best = _best(tried)
        count = len(names_of(suite, options.fdu))
        for weights in np.random.default_rng(0).dirichlet(np.ones(count), DRAWS):
            drawn = tuple(round(float(weight), 4) for weight in weights)
            tried.append(run("search", Setting(best["rate"], 0, drawn)))
            yield told("search", tried[-1])
    best = _best(tried)
    if best["score"] is None:
        return
    static = [row for row in rows.find(method=STATIC, stage="search") if row["score"] is not None]
    if task is None and static and best["score"] < _best(static)["score"] - NEAR:
        return
    for seed in range(1, options.seeds + 1):
        setting = Setting(best["rate"], seed, tuple(best["weights"]))
        yield told("chosen", run("seeds", setting))


def _best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return max(rows, key=lambda row: -1.0 if row["score"] is None else row["score"])


def _keep(folder: Path, row: dict[str, Any], test: dict[str, Any]) -> None:
    """Keep the states of the test texts of a run, for intervals."""
    for task, found in test.items():
        place = folder / row["method"] / f"{task}-{row['seed']}.npz"
        place.parent.mkdir(parents=True, exist_ok=True)
        leaves = {name: np.asarray(value) for name, value in found.states._asdict().items()}
        about = {"kind": type(found.states).__name__, "metric": found.metric, "unit": found.unit}
        about |= {"lower_is_better": found.lower_is_better}
        arrays: dict[str, Any] = {"about": json.dumps(about), "rows": found.rows, **leaves}
        np.savez_compressed(place, **arrays)


if __name__ == "__main__":
    main()
