"""The answer of a study as one HTML file that needs nothing else."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mtljax.studies.advice import signed
from mtljax.studies.answers import Answer, CheckedGrouping, Groups, TaskAnswer, Transfer
from mtljax.studies.data_cards import DataCard
from mtljax.studies.html_page import colour, escaped, image, table, write_page
from mtljax.studies.intervals import Interval
from mtljax.studies.plot_comparison import draw_comparison
from mtljax.studies.plot_new_tasks import draw_new_tasks
from mtljax.studies.relate import joint_directory
from mtljax.training import read_metrics
from mtljax.training.reporting.plot_curves import draw_curves
from mtljax.training.reporting.plot_gradients import draw_gradients
from mtljax.training.reporting.progress import SHARES, format_value


def write_report(answer: Answer, path: str | Path) -> Path:
    """Write the report of a study: its answer, table, curves, affinities and data.

    One file, without scripts, that opens from disk, light or dark as the reader's screen is.
    Figures need matplotlib, of the extra `plot`; without it there are none.

    Args:
      answer: from `mtljax.studies.relate`.
      path: of the HTML file.

    Returns:
      The path.
    """
    sections = [
        f"<h1>Does joint training help {len(answer.tasks)} tasks?</h1>",
        '<div class="advice">' + "".join(f"<p>{escaped(line)}</p>" for line in answer.advice),
        "</div>",
        _results(answer),
        *_figures(answer),
        _new_tasks(answer) if answer.new_tasks else "",
        "" if answer.groups is None else _affinities(answer.groups),
        _checked(answer.checked) if answer.checked else "",
        "" if answer.transfer is None else _transfer(answer.transfer),
        _cards(answer.cards),
        _about(answer),
    ]
    return write_page(path, Path(answer.directory).name, sections)


def _results(answer: Answer) -> str:
    rows = [_result(name, one) for name, one in answer.tasks.items()]
    results = table(("task", "metric", "alone", "joint", "difference", "p", ""), rows)
    gain = ""
    if answer.mean_gain is not None:
        value, low, high = (100 * part for part in answer.mean_gain)
        gain = f"<p>Mean relative gain: {value:+.2f} % ({low:+.2f} to {high:+.2f}).</p>"
    return (
        f"<h2>Test results</h2>{results}{gain}<p><small>Means over {len(answer.seeds)} seeds with "
        "95 % intervals over texts and seeds; differences are paired, p is of a permutation test "
        "over texts. Validation chose the checkpoints.</small></p>"
    )


def _result(name: str, one: TaskAnswer) -> list[str]:
    factor = 100 if one.metric in SHARES else 1
    change = [factor * part for part in one.difference[:3]]
    signed = [f"{part:+.1f}" if factor == 100 else f"{part:+.4g}" for part in change]
    mark = one.verdict if one.verdict in ("helps", "costs") else ""
    return [
        escaped(name),
        escaped(one.metric.replace("_", " ")),
        _shown(one.metric, one.alone),
        _shown(one.metric, one.joint),
        f"{signed[0]}<br><small>{signed[1]} to {signed[2]}</small>",
        "&lt; 0.001" if one.difference.p < 0.001 else f"{one.difference.p:.3f}",
        f'<span class="{mark}">{one.verdict}</span>',
    ]


def _shown(metric: str, value: Any) -> str:
    low, high = (format_value(metric, end) for end in (value.low, value.high))
    return f"{escaped(format_value(metric, value.value))}<br><small>{low} to {high}</small>"


def _figures(answer: Answer) -> Iterable[str]:
    joint = joint_directory(answer)
    seed = answer.seeds[0]
    runs = [joint, *(joint.parent / f"alone-{name}-seed{seed}" for name in answer.tasks)]
    try:
        curves = draw_comparison([run for run in runs if run.is_dir()], joint.parent / "curves.png")
        gradients = draw_gradients(joint)
    except ImportError:
        return
    yield f"<h2>Learning curves</h2>{image(curves, 'validation metric of every task by step')}"
    if any(name.startswith("rate/") for line in read_metrics(joint) for name in line):
        title = "losses, metrics, weights and learned rates of the joint run by step"
        yield f"<h2>The joint run, and its rates</h2>{image(draw_curves(joint), title)}"
    if gradients is not None:
        title = "norms, cosines and conflicts of gradients by step"
        yield f"<h2>Gradients of the joint run</h2>{image(gradients, title)}"


def _new_tasks(answer: Answer) -> str:
    ways = next(iter(answer.new_tasks.values())).values
    rows = []
    for name, task in answer.new_tasks.items():
        for number, count in enumerate(task.samples):
            values = [task.values[way][number] if way in task.values else None for way in ways]
            cells = ["-" if one is None else _shown(task.metric, one) for one in values]
            metric = task.metric.replace("_", " ")
            rows.append([escaped(name), escaped(metric), f"{count:,}", *cells])
    head = ("task", "metric", "samples", *("from nothing" if w == "alone" else w for w in ways))
    try:
        curves = draw_new_tasks(answer.new_tasks, Path(answer.directory) / "new_tasks.png")
        figure = image(curves, "test metric of new tasks by the number of their samples")
    except ImportError:
        figure = ""
    return (
        f"<h2>New tasks</h2>{figure}{table(head, rows)}<p><small>Each is learned by a model of "
        "the others: its head on the encoder as it is (frozen), all parameters (tuned), low-rank "
        "updates (adapter); or from nothing. Each seed draws its samples; validation has no more "
        "texts than training.</small></p>"
    )


def _affinities(groups: Groups) -> str:
    largest = max((abs(x) for row in groups.affinity for x in row), default=0) or 1
    rows = []
    for number, (name, row) in enumerate(zip(groups.names, groups.affinity, strict=True)):
        cells = [
            "" if number == column else _coloured(value, largest)
            for column, value in enumerate(row)
        ]
        rows.append([escaped(name), *cells])
    head = ("of / onto", *groups.names)
    body = "".join(
        "<tr><td>" + row[0] + "</td>" + "".join(c or "<td></td>" for c in row[1:]) + "</tr>"
        for row in rows
    )
    errors = groups.errors or (None,) * len(groups.names)
    gains = [
        [
            escaped(name),
            str(label + 1),
            f"{gain:+.3f}" + ("" if error is None else f" ± {error:.3f}"),
        ]
        for name, label, gain, error in zip(
            groups.names, groups.labels, groups.gains, errors, strict=True
        )
    ]
    return (
        "<h2>Affinity of gradients</h2><p><small>What a small step of the row's task takes off the "
        "column's loss, relative to a step of its own; below 0 it adds to it.</small></p>"
        f'<div class="wide"><table><tr>{"".join(f"<th>{escaped(h)}</th>" for h in head)}</tr>{body}'
        f"</table></div>{table(('task', 'group', 'gain in it'), gains)}"
    )


def _checked(checked: Sequence[CheckedGrouping]) -> str:
    def percent(one: Interval | None) -> str:
        if one is None:
            return "-"
        value, low, high = (f"{100 * part:+.2f}" for part in one)
        return f"{value} %<br><small>{low} to {high}</small>"

    rows = []
    for one in checked:
        groups = [" | ".join(" + ".join(group) for group in of_one) for of_one in one.groupings]
        described = "<br>".join(map(escaped, groups)) if len(one.groupings[0]) > 1 else "all"
        described = "" if one.name == "each alone" else f'<div class="left">{described}</div>'
        rows.append([escaped(one.name), described, percent(one.gain), percent(one.lead)])
    head = ("grouping", "groups", "gain over each alone", "recommended over this")
    return (
        f"<h2>Groupings, really trained</h2>{table(head, rows)}<p><small>One model a group, each "
        "with its tasks' share of the joint run's tokens; mean relative gains over tasks, with "
        "95 % intervals over texts and seeds, and over random groupings where there are several."
        "</small></p>"
    )


def _transfer(transfer: Transfer) -> str:
    # Metrics of columns differ in scale: each is coloured by its own largest change.
    largest = [
        max((abs(one.value) for row in transfer.changes if (one := row[column])), default=0) or 1
        for column in range(len(transfer.names))
    ]
    body = []
    for number, name in enumerate(transfer.names):
        cells = []
        for column, value in enumerate(transfer.values[number]):
            if value is None:
                cells.append("<td></td>")
                continue
            metric = transfer.metrics[column]
            change = transfer.changes[number][column]
            shown = escaped(format_value(metric, value.value))
            if change is None:
                cells.append(f'<td class="own">{shown}</td>')
                continue
            sign = -1 if transfer.lower_is_better[column] else 1
            background = colour(sign * change.value, largest[column])
            ends = " to ".join(signed(metric, end) for end in (change.low, change.high))
            cells.append(
                f'<td class="cell" style="background:{background}">{shown}<br><small>'
                f"{signed(metric, change.value)} ({ends})</small></td>"
            )
        body.append(f"<tr><td>{escaped(name)}</td>{''.join(cells)}</tr>")
    head = "".join(f"<th>{escaped(name)}</th>" for name in ("encoder of", *transfer.names))
    return (
        "<h2>Transfer</h2><p><small>The head of the column's task, trained on the encoder of the "
        "row's as that is: its test metric, and the change to a whole model of its own, which "
        f"stands on the diagonal. {transfer.runs} runs, whose steps took {transfer.seconds:.0f} s."
        f'</small></p><div class="wide"><table><tr>{head}</tr>{"".join(body)}</table></div>'
    )


def _coloured(value: float, largest: float) -> str:
    background = colour(value, largest)
    return f'<td class="cell" style="background:{background}">{value:+.2f}</td>'


def _cards(cards: dict[str, DataCard]) -> str:
    rows = []
    for name, card in cards.items():
        leaks = [f"{count} of {split}" for split, count in card.repeated.items() if count]
        leaks += [
            f"{count} of test in train of {escaped(other)}"
            for other, count in card.in_other_tasks.items()
        ]
        cut = [f"{100 * share:.1f} % of {split}" for split, share in card.cut.items()]
        classes = f"{card.classes} ({card.balance:.2f})" if card.classes else "-"
        rows.append(
            [
                escaped(name),
                " / ".join(str(card.rows.get(s, "-")) for s in ("train", "validation", "test")),
                f"{card.words[0]} / {card.words[1]}",
                classes,
                ", ".join(leaks) or "none",
                ", ".join(cut) or "none",
            ]
        )
    head = (
        *("task", "rows: train / validation / test", "words: median / 95 %", "classes (balance)"),
        *("texts that train has too", "texts that are cut"),
    )
    return f"<h2>Data</h2>{table(head, rows)}"


def _about(answer: Answer) -> str:
    given = {
        "share": "as many tokens as its task has in the joint run",
        "whole": "as many tokens as the whole joint run",
    }[answer.budget]
    diverged = f" Diverged, and left out: {', '.join(answer.diverged)}." if answer.diverged else ""
    joint, alone = answer.seconds
    return (
        f"<h2>About this study</h2><p>Seeds {', '.join(map(str, answer.seeds))}; {answer.steps} "
        f"steps a run; each model of one task had {given}. Steps of the joint runs took "
        f"{joint:.0f} s, of the others {alone:.0f} s. Settings are the same "
        f"for all, and tuned for none."
        f"{escaped(diverged)}</p>"
    )
