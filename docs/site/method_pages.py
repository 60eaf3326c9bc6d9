"""A page for each method: its docstring, and what the committed benchmarks measured of it."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mtljax.training.method_cards import MethodCard, method_cards

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
STEPS = {
    "own": "Each task has a batch of its own",
    "shared": "All tasks read one batch",
    "packed": "Texts of unlike lengths, packed two a row",
}
PEERS = {"upgrad": ("TorchJD UPGrad, autojac", "TorchJD UPGrad, autogram")}
"""Rows of another library that are the same method."""


def pages() -> dict[str, str]:
    """The pages by the name of the file, in reStructuredText: the list of methods, and each."""
    cards = method_cards()
    measured = {name: rows(name) for name in ("weighting_cost", "aggregation_overhead")}
    measured |= {name: rows(name) for name in ("price_in_a_run", "toy_pareto")}
    found = {f"{name}.rst": _page(card, measured) for name, card in cards.items()}
    return {**found, "index.rst": _list_of(cards.values(), measured)}


def figures() -> list[Path]:
    """The pictures that the pages show."""
    return sorted((RESULTS / "toy_pareto").glob("*.png"))


def linked(text: str) -> str:
    """A Markdown page, with links from the names that begin rows of tables."""
    return re.sub(
        r"^\| `(\w+)` \|",
        lambda m: f"| [`{m[1]}`](methods/{m[1]}.rst) |" if m[1] in method_cards() else m[0],
        text,
        flags=re.MULTILINE,
    )


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a benchmark's result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def _page(card: MethodCard, measured: dict[str, list[dict[str, Any]]]) -> str:
    options = ", ".join(f"``--weighting.{name.replace('_', '-')}``" for name in card.options)
    return "\n".join(
        [
            *_title(card.name, "="),
            card.what,
            "",
            f":Reads: {', '.join(f'``{signal}``' for signal in card.reads)}",
            f":A step costs: {card.costs}, with a batch for each task",
            f":When to use: {card.when}",
            f":Command: ``mtljax train --weighting {card.name}``",
            f":Its options: {options or 'none'}, besides those "
            ":doc:`around any method </docs/weighting>`",
            "",
            *_title("What it computes", "-"),
            f".. autofunction:: {card.source}",
            "   :no-index:",
            "",
            *_title("What was measured", "-"),
            *_update(card.name, measured["weighting_cost"]),
            *_step(card.name, measured["aggregation_overhead"]),
            *_in_a_run(card.name, measured["price_in_a_run"]),
            *_title("On the toy problems", "-"),
            *_toy(card.name, measured["toy_pareto"]),
        ]
    )


def _update(name: str, found: Iterable[dict[str, Any]]) -> list[str]:
    own = [row for row in found if row["method"] == name]
    if not own:
        return ["One update of it has not been timed.", ""]
    peer = any(row["baseline_microseconds"] for row in own)
    head = ["T", "inside a program", "called", "error"]
    head += ["TorchJD, called", "its error"] if peer else []
    body = [
        [
            str(row["tasks"]),
            _time(row["inside_microseconds"]),
            _time(row["microseconds"]),
            _error(row["error"]),
            *([_time(row["baseline_microseconds"]), _error(row["baseline_error"])] if peer else []),
        ]
        for row in own
    ]
    return [
        "One update for T tasks with 1,000 coordinates each, norms a factor of 100 apart, on one "
        "CPU core: inside a compiled program, and called from Python. The error of the direction "
        "is that to the same method in float64, over the direction or the longest gradient in it, "
        "whichever is smaller (``benchmarks/weighting_cost.py``)."
        + (
            " TorchJD has its defaults: 1e-4 added to the diagonal of a normalised Gramian, as "
            "much as the products of gradients a hundred times shorter, and 100 iterations of MGDA."
            if peer
            else ""
        ),
        "",
        *_table(head, body),
    ]


def _step(name: str, found: Iterable[dict[str, Any]]) -> list[str]:
    wanted = (name, *PEERS.get(name, ()))
    lines = []
    for setting, what in STEPS.items():
        of_setting = [row for row in found if row["setting"] == setting and row["method"] in wanted]
        of_setting.sort(key=lambda row: (wanted.index(row["method"]), row["tasks"]))
        if not of_setting:
            continue
        body = [
            [
                *([] if len(wanted) == 1 else [row["method"]]),
                str(row["tasks"]),
                _seconds(row.get("seconds")),
                f"{row['ratio']:.2f}x" if row.get("ratio") else "",
                f"{row['memory_ratio']:.2f}x" if row.get("memory_ratio") else "",
            ]
            for row in of_setting
        ]
        head = ["T", "a step", "over the plain sum", "memory"]
        lines += [f"{what}:", "", *_table(head if len(wanted) == 1 else ["method", *head], body)]
    if not lines:
        return ["A whole training step with it has not been timed.", ""]
    return [
        "A training step of a small transformer, 16 texts of 64 tokens a task, Adam, float32, one "
        "CPU core, over the plain weighted sum in the same library "
        "(``benchmarks/aggregation_overhead.py``).",
        "",
        *lines,
    ]


def _in_a_run(name: str, found: Iterable[dict[str, Any]]) -> list[str]:
    body = [
        [
            row["run"],
            str(row["tasks"]),
            f"{row['milliseconds']:.0f} ms",
            f"{row['over_equal']:.2f}x",
        ]
        for row in found
        if row["method"] == name
    ]
    if not body:
        return []
    head = ["run", "T", "a step", "over equal"]
    text = "A step of ``mtljax train`` on one CPU core (``benchmarks/price_in_a_run.py``)."
    return [text, "", *_table(head, body)]


def _toy(name: str, found: Iterable[dict[str, Any]]) -> list[str]:
    # Other settings of a method stand behind its name, in parentheses.
    own = [row for row in found if row["method"].partition(" (")[0] == name]
    if not own:
        return ["It is not among the methods that were run on them.", ""]
    problems = list(dict.fromkeys(row["problem"] for row in own))
    body = [
        [
            method,
            *(
                next(
                    (
                        f"{row['reached']} of {row['starts']}"
                        for row in own
                        if (row["method"], row["problem"]) == (method, problem)
                    ),
                    "",
                )
                for problem in problems
            ),
        ]
        for method in dict.fromkeys(row["method"] for row in own)
    ]
    lines = [
        "How many starts end on the Pareto front (``benchmarks/toy_pareto.py``, which says what "
        "the problems are).",
        "",
        *_table(["settings", *problems], body),
    ]
    if (RESULTS / "toy_pareto" / f"{name}.png").exists():
        place = f"/benchmarks/results/toy_pareto/{name}.png"
        lines += [f".. image:: {place}", f"   :alt: paths of {name} on the toy problems", ""]
    return lines


def _list_of(cards: Iterable[MethodCard], measured: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        *_title("The methods, one by one", "="),
        "What a method reads decides what a step costs. The two figures are the time of one update "
        "alone for eight tasks, inside a compiled program, and of a whole step over the plain "
        "weighted sum for eight tasks with own batches, where they were measured; "
        ":doc:`how to choose </docs/weighting>`.",
        "",
    ]
    listed = list(cards)
    for costs in dict.fromkeys(card.costs for card in listed):
        body = [
            [
                f":doc:`{card.name}`",
                card.when,
                _at(measured["weighting_cost"], card.name, "inside_microseconds", _time),
                _at(measured["aggregation_overhead"], card.name, "ratio", lambda r: f"{r:.2f}x"),
            ]
            for card in listed
            if card.costs == costs
        ]
        lines += [*_title(costs[0].upper() + costs[1:], "-")]
        lines += _table(["method", "when to use it", "update", "step"], body, "15 55 15 15")
    tree = [f"   {card.name}" for card in listed]
    return "\n".join([*lines, ".. toctree::", "   :hidden:", "", *tree, ""])


def _at(found: Iterable[dict[str, Any]], name: str, field: str, show: Any) -> str:
    chosen = (
        row
        for row in found
        if (row["method"], row["tasks"], row.get("setting", "own")) == (name, 8, "own")
    )
    row = next(chosen, None)
    return "" if row is None or row.get(field) is None else show(row[field])


def _title(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _table(head: Sequence[str], body: Iterable[Sequence[str]], widths: str = "auto") -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (head, *body):
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}".rstrip() for i, cell in enumerate(row)]
    return [*lines, ""]


def _time(microseconds: float | None) -> str:
    if microseconds is None:
        return ""
    return f"{microseconds:.1f} µs" if microseconds < 1000 else f"{microseconds / 1000:.1f} ms"


def _seconds(seconds: float | None) -> str:
    return "out of memory" if seconds is None else f"{seconds:.2f} s"


def _error(error: float | None) -> str:
    return "" if error is None else f"{error:.1g}"
