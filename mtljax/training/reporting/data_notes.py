"""What is odd about the data of a run: splits without rows, targets or classes, doubtful tags."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mtljax.data import MultitaskData
from mtljax.data.catalogue.tagged_text import tagged_text
from mtljax.data.encoding.examples import Examples
from mtljax.data.encoding.outputs import class_note
from mtljax.kinds import KINDS
from mtljax.kinds.labels import short
from mtljax.span_schemes import outside_tags
from mtljax.special_tokens import SPECIALS
from mtljax.tasks import Task
from mtljax.training.reporting.repeated_texts import repeated_texts

_PORTION = 1 << 22
_EXPECTED = 10  # targets of a class that a split of that size has by chance, or it is told
_NAMED = 5  # names in a line
_REPEATED = 0.1  # share of texts of a split that train has too from which on it is told
_FEW_TAGS = 0.4  # share of positions with a tag below which it is told


def data_notes(data: MultitaskData) -> list[str]:
    """What a user should know about the splits of a run before it starts, a line each.

    Args:
      data: of all tasks.

    Returns:
      Lines on rows that are left out; on tasks that lack a target in a split, with the tasks that
      the score is over where these are not all; on numbers that are all one; on classes that one
      split has and another has not, though it should by the number of its targets; on classes of
      one name but for capitals and blanks; on splits that
      repeat texts of train; on tags whose spans are read in another spelling than usual, or not at
      all; and on texts that are cut.
    """
    lacking: dict[str, dict[str, str]] = {"train": {}, "validation": {}, "test": {}}
    constant: list[str] = []
    classes: list[str] = []
    for group in data.groups:
        splits = data.examples[group.name]
        for task in group.tasks:
            for split, reasons in lacking.items():
                reason = _lack(splits, split, task)
                if reason:
                    reasons[task.name] = reason
            kind = KINDS[task.kind]
            if kind.standardized and _constant(splits["train"], task):
                constant.append(f"task {task.name!r}: all its targets in train are one number")
            if kind.has_classes and not kind.per_token:
                names = data.outputs[task.name].classes
                classes += [*_unequal_classes(splits, task, names), *_alike_classes(task, names)]
    notes = [
        f"task {task!r}: {reason}: it learns nothing" for task, reason in lacking["train"].items()
    ]
    if lacking["validation"]:
        notes.append(_score_note(list(data.outputs), lacking["validation"]))
    notes += [
        f"task {task!r}: {reason}"
        for task, reason in lacking["test"].items()
        if reason != _no_split("test")
    ]
    odd_targets = [*constant, *classes, *_tag_notes(data)]
    return [
        *left_out_notes(data),
        *notes,
        *_repeated_notes(data),
        *odd_targets,
        *_cut_notes(data),
        *_long_word_notes(data),
    ]


def _long_word_notes(data: MultitaskData) -> Iterator[str]:
    count = data.tokenizer.settings.spelled
    longer = sum(len(word) > count for word in data.tokenizer.pieces[len(SPECIALS) :])
    if count and longer:
        yield (
            f"{longer:,} of {data.tokenizer.vocab_size - len(SPECIALS):,} words have more than "
            f"{count} characters (tokenizer.characters): their middle is not read"
        )


def _repeated_notes(data: MultitaskData) -> Iterator[str]:
    for group in data.groups:
        shares = repeated_texts(data.examples[group.name])
        for split, share in shares.items():
            if share >= _REPEATED:
                yield (
                    f"{_named([task.name for task in group.tasks])}: {share:.0%} of the texts of "
                    f"{split} are texts of train too: its figures are hardly those of new texts"
                )


def _cut_notes(data: MultitaskData) -> Iterator[str]:
    """What texts lose that are longer than a row, for tasks that lose the same in a line."""
    unit = "words" if data.tokenizer.settings.kind == "words" else "pieces"
    cut_texts = data.cut_texts
    for group in data.groups:
        by_splits: dict[tuple[str, ...], list[str]] = {}
        for task in group.tasks:
            if task.name in cut_texts:
                by_splits.setdefault(tuple(cut_texts[task.name]), []).append(task.name)
        row_length = data.layout.shapes[group.name].row_length
        limit = min(row_length, group.max_length or row_length)
        option = "batch.row_length" if limit == row_length else "max_length"
        for tasks in by_splits.values():
            losses = "; ".join(
                f"{split} {_percent(share['texts'])} of texts, {_percent(share['words'])} of {unit}"
                for split, share in cut_texts[tasks[0]].items()
            )
            room = limit - len(group.parts)
            yield f"{_named(tasks)}: texts of more than {room} {unit} are cut ({option}): {losses}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"


def _tag_notes(data: MultitaskData) -> Iterator[str]:
    for group in data.groups:
        for task in group.tasks:
            # Tags that say how a text is written mark no spans.
            if not KINDS[task.kind].has_spans or tagged_text(task.dataset).restore is not None:
                continue
            note = class_note(task, data.outputs[task.name].classes)
            if note is not None:
                yield f"task {task.name!r}: {note}"
            tagged = _share_of_tags(data.examples[group.name]["train"], task)
            if tagged < _FEW_TAGS:
                share = f"{1 - tagged:.0%} of the positions of tagged texts of train have no tag"
                named = outside_tags(data.outputs[task.name].classes)
                hint = "" if named else "; if empty tags are outside of spans, say their 'scheme'"
                yield f"task {task.name!r}: {share}{hint}"


def _share_of_tags(examples: Examples, task: Task) -> float:
    """Share of the positions with a tag in the texts that have any, of the first few million."""
    size = max(1, int(np.searchsorted(examples.starts[1:], _PORTION)))
    starts = examples.starts[: size + 1]
    present = examples.weights[task.name][: starts[-1]] > 0
    if not present.any():
        return 1.0
    counts = np.add.reduceat(present, starts[:-1], dtype=np.int64)
    return float(counts.sum() / np.diff(starts)[counts > 0].sum())


def left_out_notes(data: MultitaskData, split: str | None = None) -> list[str]:
    """How many rows of some data are left out, a line each for data sets and tasks.

    Args:
      data: of all tasks.
      split: the split whose rows are counted; None for all.
    """
    notes = []
    about = "rows whose targets cannot be used count as missing"
    for counts, begin in (
        (data.skipped_rows, "warning: {}: malformed rows left out"),
        (data.skipped_targets, f"task {{!r}}: {about}"),
    ):
        for name, by_split in counts.items():
            numbers = [f"{n} of {part}" for part, n in by_split.items() if split in (None, part)]
            if numbers:
                notes.append(f"{begin.format(name)}: {', '.join(numbers)}")
    return notes


def _constant(examples: Examples, task: Task) -> bool:
    targets = examples.targets[task.name][examples.weights[task.name] > 0]
    return len(targets) > 0 and targets.min() == targets.max()


def _lack(splits: Mapping[str, Examples], split: str, task: Task) -> str:
    """Why a task has no target in a split; empty where it has some."""
    if split not in splits:
        return _no_split(split)
    weights = splits[split].weights[task.name]
    if not len(splits[split]):
        return f"no row in {split}"
    portions = (weights[i : i + _PORTION] for i in range(0, len(weights), _PORTION))
    return "" if any((portion > 0).any() for portion in portions) else f"no target in {split}"


def _no_split(split: str) -> str:
    return f"no {split} split"


def _score_note(tasks: Sequence[str], lack: Mapping[str, str]) -> str:
    by_reason: dict[str, list[str]] = {}
    for task in tasks:
        if task in lack:
            by_reason.setdefault(lack[task], []).append(task)
    reasons = "; ".join(f"{reason}: {_named(names)}" for reason, names in by_reason.items())
    scored = [task for task in tasks if task not in lack]
    if not scored:
        return f"no score, the last checkpoint counts as the best ({reasons})"
    return f"score over {len(scored)} of {len(tasks)} tasks: {_named(scored)} ({reasons})"


def _unequal_classes(
    splits: Mapping[str, Examples], task: Task, classes: Sequence[str]
) -> Iterator[str]:
    """Classes of train that another split should have and has not, and the other way round."""
    if not classes:
        return
    train = _class_counts(splits["train"], task, len(classes))
    for split in ("validation", "test"):
        if split not in splits or not train.any():
            continue
        counts = _class_counts(splits[split], task, len(classes))
        expected = train / train.sum() * counts.sum()
        missing = np.flatnonzero((counts == 0) & (expected >= _EXPECTED)).tolist()
        if missing:
            named = _named([f"{short(classes[i])} ({train[i] / train.sum():.0%})" for i in missing])
            yield f"task {task.name!r}: {split} has no target of classes that train has: {named}"
        unseen = np.flatnonzero((train == 0) & (counts > 0)).tolist()
        if unseen:
            named = _named([short(classes[i]) for i in unseen])
            yield f"task {task.name!r}: {split} has targets of classes that train has not: {named}"


def _alike_classes(task: Task, classes: Sequence[str]) -> Iterator[str]:
    """Classes that are one but for capitals and blanks: they may be meant as one."""
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    found = [" and ".join(map(short, names)) for names in alike.values() if names[1:]]
    if found:
        what = "classes that differ in capitals or blanks alone"
        yield f"task {task.name!r}: {what}: {_named(found)}"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _class_counts(examples: Examples, task: Task, num_classes: int) -> np.ndarray:
    counts = np.zeros(num_classes, np.int64)
    targets, weights = examples.targets[task.name], examples.weights[task.name]
    for first in range(0, len(targets), _PORTION):
        present = weights[first : first + _PORTION] > 0
        portion = targets[first : first + _PORTION][present]
        if portion.ndim > 1:
            counts += (portion > 0).sum(0)
        else:
            counts += np.bincount(portion, minlength=num_classes)
    return counts
