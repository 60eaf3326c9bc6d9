"""A run as one HTML file: its results, its curves, and what it answers wrongly."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtljax.errors import UserError
from mtljax.inference import Run
from mtljax.inference.run_data import run_data
from mtljax.metrics import calibration
from mtljax.studies.html_page import colour, escaped, image, table, write_page
from mtljax.studies.split_answers import Classified, Tagged, split_answers
from mtljax.training.persistence.run_directory import RunFiles
from mtljax.training.reporting.overview import Overview, overview
from mtljax.training.reporting.plot_curves import draw_curves
from mtljax.training.reporting.plot_gradients import draw_gradients
from mtljax.training.reporting.progress import format_value

_EXAMPLES, _CLASSES, _LETTERS, _BINS = 12, 12, 300, 10


def write_run_page(
    run: Run,
    path: str | Path,
    split: str = "validation",
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    *,
    most: int = 2000,
) -> Path:
    """Write a page about a run: results, curves, confusions, calibration, wrong answers.

    One file, without scripts, that opens from disk, light or dark as the reader's screen is.
    Figures need matplotlib, of the extra `plot`; without it there are none.

    Args:
      run: from `mtljax.load_run`.
      path: of the HTML file.
      split: whose texts are answered.
      data_dir: directory of the data sets in TFDS format.
      cache_dir: directory of the cache of tokenised data; None for no cache.
      most: texts of each task that are answered at most.

    Returns:
      The path.

    Raises:
      UserError: if the data of the run is missing or has changed, or the file cannot be written.
    """
    files = RunFiles(run.config, run.tasks, run.tokenizer, run.layout)
    data = run_data(run.directory, files, data_dir, cache_dir)
    found = overview(run.directory)
    sections = [_head(run, found), _results(found.summary), *_figures(run.directory)]
    for name, answers in split_answers(run, data, split, most).items():
        sections.append(f"<h2>{escaped(name)}, {len(answers[1]):,} texts of {escaped(split)}</h2>")
        sections += _of_classes(answers) if isinstance(answers, Classified) else _of_tags(answers)
    try:
        return write_page(path, run.directory.name, sections)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None


def _head(run: Run, found: Overview) -> str:
    best = "" if found.best_step is None else f", the best is {found.best_step:,}"
    settings = ", ".join(f"{name} {value}" for name, value in found.settings.items())
    tasks = ", ".join(f"{name} ({kind.replace('_', ' ')})" for name, kind in found.tasks.items())
    return (
        f"<h1>{escaped(run.directory.name)}</h1><p>Preset {escaped(found.preset)}"
        f"{escaped(f': {settings}' if settings else '')}. {found.steps:,} steps{best}. "
        f"Tasks: {escaped(tasks)}.</p>"
    )


def _results(summary: Mapping[str, Any]) -> str:
    rows = []
    for task, splits in summary.get("tasks", {}).items():
        names = dict.fromkeys(name for values in splits.values() for name in values)
        for name in names:
            if name == "loss" and len(names) > 1:
                continue
            cells = [splits.get(split, {}).get(name) for split in ("validation", "test")]
            shown = ["-" if cell is None else format_value(name, cell) for cell in cells]
            rows.append([escaped(task), escaped(name.replace("_", " ")), *map(escaped, shown)])
    if not rows:
        return "<p>The run has not ended.</p>"
    return f"<h2>Results</h2>{table(('task', 'metric', 'validation', 'test'), rows)}"


def _figures(directory: Path) -> Iterator[str]:
    try:
        curves, gradients = draw_curves(directory), draw_gradients(directory)
    except ImportError:
        return
    title = "losses, metrics and weights by step"
    yield f"<h2>Curves</h2>{image(curves, title)}"
    if gradients is not None:
        yield f"<h2>Gradients</h2>{image(gradients, 'norms, cosines and conflicts by step')}"


def _of_classes(answers: Classified) -> Iterator[str]:
    chosen, right = answers.answers, answers.targets
    yield _confusions(answers.classes, right, chosen, "text")
    probabilities = answers.probabilities.max(1)
    wrong = np.flatnonzero(chosen != right)
    told = calibration(np.clip(probabilities, 0, 1), chosen == right, _BINS)
    rows = [
        [
            f"{place / _BINS:.1f} to {(place + 1) / _BINS:.1f}",
            f"{int(count):,}",
            f"{100 * told.probability[place]:.1f} %",
            _bar(told.accuracy[place]),
        ]
        for place, count in enumerate(told.counts)
        if count
    ]
    yield (
        "<h3>Calibration</h3><p>Expected calibration error "
        f"{100 * told.error:.1f} %: how far the probability of an answer is from how often such "
        f"answers are right.</p>{table(('probability', 'texts', 'mean', 'right'), rows)}"
    )
    if not len(wrong):
        yield "<p>No answer is wrong.</p>"
        return
    surest = wrong[np.argsort(-probabilities[wrong], kind="stable")][:_EXAMPLES]
    rows = [
        [
            f'<div class="passage">{_shown(answers.texts[i])}</div>',
            escaped(answers.classes[right[i]]),
            f"{escaped(answers.classes[chosen[i]])} {100 * probabilities[i]:.1f} %",
        ]
        for i in surest
    ]
    head = table(("text", "right", "answer"), rows)
    yield f"<h3>Wrong answers, {len(wrong):,} in all, the surest first</h3>{head}"


def _of_tags(answers: Tagged) -> Iterator[str]:
    if not answers.words:
        yield "<p>No text has as many words as targets.</p>"
        return
    right, chosen = np.concatenate(answers.targets), np.concatenate(answers.answers)
    counted = right >= 0
    yield _confusions(answers.classes, right[counted], chosen[counted], "word")
    errors = [
        int(np.sum((target >= 0) & (target != answer)))
        for target, answer in zip(answers.targets, answers.answers, strict=True)
    ]
    worst = [i for i in np.argsort(-np.array(errors), kind="stable")[:_EXAMPLES] if errors[i]]
    if not worst:
        yield "<p>No tag is wrong.</p>"
        return
    passages = [
        [f'<div class="passage">{_marked(answers, i)}</div>', str(errors[i])] for i in worst
    ]
    yield f"<h3>Texts with the most wrong tags</h3>{table(('text', 'wrong'), passages)}"


def _marked(answers: Tagged, number: int) -> str:
    """A text whose wrong tags stand beside their words: right, then answered."""
    parts, size = [], 0
    names = answers.classes
    for word, target, answer in zip(
        answers.words[number], answers.targets[number], answers.answers[number], strict=True
    ):
        shown = escaped(word)
        if target >= 0 and target != answer:
            shown = (
                f'<b class="costs">{shown}</b> <small>({escaped(names[target] or "none")}, '
                f"not {escaped(names[answer] or 'none')})</small>"
            )
        parts.append(shown)
        size += len(word) + 1
        if size > 2 * _LETTERS:
            parts.append("…")
            break
    return " ".join(parts)


def _confusions(classes: tuple[str, ...], right: np.ndarray, chosen: np.ndarray, what: str) -> str:
    """The classes that are right most often against those that are answered."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (right, chosen), 1)
    frequent = np.argsort(-counts.sum(1), kind="stable")[:_CLASSES]
    shown = [int(i) for i in frequent if counts[i].any()]
    names = [escaped(classes[i] or "none") for i in shown]
    rows = []
    for name, i in zip(names, shown, strict=True):
        total = counts[i].sum()
        cells = []
        for j in shown:
            if not counts[i, j]:
                cells.append("")
                continue
            share = counts[i, j] / total
            style = f"background:{colour(share if i == j else -share, 1.0)}"
            cells.append(f'<div class="cell" style="{style}">{counts[i, j]:,}</div>')
        others = total - counts[i, shown].sum()
        rows.append([name, *cells, f"{others:,}", f"{100 * counts[i, i] / total:.1f} %"])
    some = len(shown) < len(classes)
    more = f" The {len(shown)} most frequent of {len(classes)}." if some else ""
    head = ("right", *(classes[i] or "none" for i in shown), "others", "found")
    return (
        f"<h3>Confusions</h3><p><small>A {what} of the row's class, answered as the column's."
        f"{more}</small></p>{table(head, rows)}"
    )


def _bar(share: float) -> str:
    width = f"{100 * share:.1f}"
    return f'<div class="bar" style="--share:{width}%">{width} %</div>'


def _shown(text: Any) -> str:
    if isinstance(text, Mapping):
        return "<br>".join(f"<b>{escaped(k)}</b> {_shown(v)}" for k, v in text.items())
    whole = text if isinstance(text, str) else " ".join(text)
    return escaped(whole if len(whole) <= _LETTERS else f"{whole[:_LETTERS]} …")
