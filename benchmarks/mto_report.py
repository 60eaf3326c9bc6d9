"""What the runs of a suite say: each method beside static weights, with intervals."""

import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from mtljax.metrics import State, compute, states
from mtljax.studies import difference, mean_gain

STATIC, EQUAL, DRAWS = "static", "equal", 1000
NEAR = 0.02
"""How far short of static weights on validation a method may be, to be trained anew."""


_NAMES = {STATIC: "best drawn weights", EQUAL: "equal weights", "alone": "each task alone"}


class Answers(NamedTuple):
    """The answers to a task's test texts, for each seed, and what they are measured in."""

    states: dict[int, State]
    lower_is_better: bool
    unit: float


def report(path: Path, work: Path) -> dict[str, Any]:
    """Compare every method of a suite with the best static weights, and write it beside the runs.

    Args:
      path: of the suite's rows.
      work: directory of the answers of its runs.

    Returns:
      The content of the file.
    """
    content = json.loads(path.read_text())
    runs = content["runs"]
    methods = list(dict.fromkeys(row["method"] for row in runs))
    baseline = _baseline(runs)
    base = _answers(work / baseline)
    found = [_compared(method, runs, baseline, base, work) for method in methods]
    content["methods"] = sorted(
        found, key=lambda row: -row.get("points", row.get("gain", [-99.0]))[0]
    )
    path.write_text(json.dumps(content, indent=1) + "\n")
    return content


def _baseline(runs: list[dict[str, Any]]) -> str:
    """What was tuned, or equal weights, whichever has the better mean score on validation.

    What was best of twelve runs of one seed need not be so with others.
    """
    scores = {
        method: [
            row["score"] for row in runs if row["method"] == method and row["stage"] == "seeds"
        ]
        for method in (EQUAL, STATIC)
    }
    return max(scores, key=lambda method: statistics.mean(scores[method] or [-1.0]))


def _compared(
    method: str,
    runs: list[dict[str, Any]],
    baseline: str,
    base: dict[str, Answers],
    work: Path,
) -> dict[str, Any]:
    ours = [row for row in runs if row["method"] == method]
    if refused := [row["why"] for row in ours if row["stage"] == "refused"]:
        return {"method": method, "refused": refused[0]}
    searched = _best_of(ours, "search")
    static = _best_of([row for row in runs if row["method"] == baseline], "search")
    row: dict[str, Any] = {"method": method, "searched": sum(r["stage"] == "search" for r in ours)}
    if searched is not None and static is not None and ours[0].get("task") is None:
        row |= {"rate": searched["rate"], "short_of_static": static["score"] - searched["score"]}
    answers = _answers(work / method)
    tasks = [task for task in base if task in answers]
    seeds = {
        seed
        for seed in (base[tasks[0]].states if tasks else ())
        if all(seed in answers[task].states and seed in base[task].states for task in tasks)
    }
    if len(tasks) < len(base) or len(seeds) < 2:
        return row
    chosen = sorted(seeds)
    pairs = [
        (
            [base[task].states[seed] for seed in chosen],
            [answers[task].states[seed] for seed in chosen],
        )
        for task in tasks
    ]
    lower = [base[task].lower_is_better for task in tasks]
    row["seeds"] = len(chosen)
    if method != baseline:
        gain = mean_gain(pairs, lower, draws=DRAWS)
        row["gain"] = [round(100 * value, 3) for value in gain]
        if not any(lower):
            row["points"] = [round(100 * value, 3) for value in _mean_difference(pairs)]
        row["tasks"] = {}
        for task, pair in zip(tasks, pairs, strict=True):
            unit = base[task].unit if base[task].lower_is_better else 100 * base[task].unit
            found = difference(*pair, draws=DRAWS)
            row["tasks"][task] = [round(unit * value, 3) for value in found[:3]]
        row["worst"] = _worst(row["tasks"], dict(zip(tasks, lower, strict=True)))
    else:
        row |= {"gain": [0.0] * 3, "points": [0.0] * 3, "baseline": True}
    row["values"] = {
        task: round(
            statistics.mean(
                r["test"][task] for r in ours if task in r.get("test", {}) and r["stage"] == "seeds"
            ),
            4,
        )
        for task in tasks
    }
    if ours[0].get("task") is None:
        row |= _costs(ours, [r for r in runs if r["method"] == baseline])
    return row


def _mean_difference(pairs: Any) -> tuple[float, float, float]:
    """The mean over tasks of the difference of their metrics, over texts and seeds, as `mean_gain`.

    It is what validation chose by; a task that hardly works at all does not lead it, as it leads
    relative gains.
    """
    generator = np.random.default_rng(0)
    seeds = len(pairs[0][0])
    chosen = generator.integers(0, seeds, (seeds, DRAWS))
    drawn, values = [], []
    for first, second in pairs:
        size = len(next(iter(first[0])))
        weights = generator.multinomial(size, np.full(size, 1 / size), DRAWS).astype(float)
        ones = np.ones((1, size))
        sampled, whole = (
            np.stack(
                [_weighted(b, w) - _weighted(a, w) for a, b in zip(first, second, strict=True)]
            )
            for w in (weights, ones)
        )
        drawn.append(np.take_along_axis(sampled, chosen, axis=0).mean(0))
        values.append(whole.mean())
    low, high = np.percentile(np.mean(drawn, axis=0), [2.5, 97.5])
    return float(np.mean(values)), float(low), float(high)


def _weighted(one: Any, weights: np.ndarray) -> np.ndarray:
    """A metric of weighted sums of states, ``[draws]``."""
    sums = (weights @ np.asarray(leaf).reshape(len(leaf), -1) for leaf in one)
    totals = [total[:, 0] if total.shape[1] == 1 else total for total in sums]
    return np.asarray(compute(type(one)(*totals)), float)


def _worst(differences: dict[str, list[float]], lower: dict[str, bool]) -> list[Any]:
    """The task that loses most by its interval, with its difference."""
    signed = {task: -d[0] if lower[task] else d[0] for task, d in differences.items()}
    task = min(signed, key=lambda name: signed[name])
    return [task, *differences[task]]


def _best_of(rows: list[dict[str, Any]], stage: str) -> dict[str, Any] | None:
    finite = [row for row in rows if row["stage"] == stage and row["score"] is not None]
    return max(finite, key=lambda row: row["score"]) if finite else None


def _costs(ours: list[dict[str, Any]], static: list[dict[str, Any]]) -> dict[str, float]:
    """Time and memory of a step, as multiples of those of static weights.

    Other processes make a step slower, never faster: of all runs the fastest counts.
    """
    return {
        key: round(
            min(row[name] for row in ours if name in row)
            / min(row[name] for row in static if name in row),
            3,
        )
        for key, name in (("time", "milliseconds"), ("memory", "megabytes"))
    }


def _answers(folder: Path) -> dict[str, Answers]:
    found: dict[str, Answers] = {}
    for path in sorted(folder.glob("*.npz")):
        task, _, seed = path.stem.rpartition("-")
        with np.load(path) as arrays:
            about = json.loads(str(arrays["about"]))
            leaves = {name: arrays[name] for name in arrays.files if name not in ("about", "rows")}
        state = getattr(states, about["kind"])(**leaves)
        of_task = found.setdefault(task, Answers({}, about["lower_is_better"], about["unit"]))
        of_task.states[int(seed)] = state
    return found


def verdict(row: dict[str, Any]) -> str:
    """Whether a method beats static weights, in words."""
    if "refused" in row:
        return "cannot be had here"
    if "gain" not in row:
        short = row.get("short_of_static")
        if short is None:
            return "no number is finite"
        return f"no: {100 * short:.1f} points short" if short > NEAR else "not trained anew yet"
    _, low, high = row.get("points", row["gain"])
    if low > 0:
        return "**yes**"
    return "no: behind" if high < 0 else "not told apart"


def _ends(values: list[float]) -> str:
    value, low, high = values
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def markdown(content: dict[str, Any]) -> str:
    """The table of a suite as the documentation has it."""
    lines = [
        "| method | beats static weights? | points | gain, % | worst task |",
        "|---|---|---|---|---|",
    ]
    for row in content["methods"]:
        name = _NAMES.get(row["method"], f"`{row['method']}`")
        cells = [""] * 3
        if "worst" in row:
            worst = row["worst"]
            cells = [
                *(_ends(row[key]) if key in row else "" for key in ("points", "gain")),
                f"{worst[0]} {worst[1]:+.1f}",
            ]
        says = "the baseline" if row.get("baseline") else verdict(row)
        lines.append(f"| {name} | {says} | {' | '.join(cells)} |")
    return "\n".join(lines)


def show(suite: str, content: dict[str, Any], console: Console) -> None:
    """Print the table of a suite."""
    columns = ("method", "gain, %", "95 %", "worst task", "time", "memory", "seeds")
    table = Table(*columns, title=f"{suite}: beside tuned static weights", title_justify="left")
    for row in content["methods"]:
        if "gain" not in row:
            table.add_row(row["method"], "", verdict(row))
            continue
        value, low, high = row["gain"]
        worst = row.get("worst")
        table.add_row(
            row["method"],
            f"{value:+.2f}",
            f"{low:+.2f} to {high:+.2f}",
            "" if worst is None else f"{worst[0]} {worst[1]:+.2f}",
            str(row.get("time", "")),
            str(row.get("memory", "")),
            str(row["seeds"]),
        )
    console.print(table)
