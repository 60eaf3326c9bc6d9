"""What the tasks of a data set predict: their classes, or the words they write."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mtljax.data.encoding.class_weights import class_weights
from mtljax.data.sources.source import Source
from mtljax.data.tokenizers import Tokenizer
from mtljax.data.tokenizers.subword import special_ids
from mtljax.data.tokenizers.word_splitting import WORD_RULE
from mtljax.data.tokenizers.words import WordTokenizer, count_words
from mtljax.errors import UserError
from mtljax.kinds import KINDS, Output
from mtljax.kinds.labels import class_names_of, indexed, named_class
from mtljax.kinds.target_rows import is_float32
from mtljax.tasks.choices import chains_tags, metric_names
from mtljax.tasks.task import Task


def task_output(
    task: Task, source: Source, tokenizer: Tokenizer, begun: Output | None = None
) -> Output:
    """Finds out what a task predicts.

    The classes of a task that writes text are, over words, those which the texts that it is to
    write have `min_count` times in its own training split, the most frequent first; over pieces of
    other kinds, all of them. Classes that a data set does not name are those of its training split.
    Numbers have the mean and the standard deviation of the targets of that split.

    Args:
        task: the task.
        source: its data set, whose training split is read where need be.
        tokenizer: has the words of the training splits.
        begun: the output that a run was begun with, whose classes are kept if all those that occur
            are among them, and whose mean and deviation are; None for a new run.

    Raises:
        UserError: if the training split has nothing that could be learned.
    """
    kind = KINDS[task.kind]
    if kind.writes:
        if begun is not None:
            return begun
        marks = tokenizer.marks
        words = _word_ids(task, source, tokenizer)
        # A vocabulary without a piece for unknown words has another in its place.
        ids = np.asarray([*dict.fromkeys((marks.unknown, marks.end)), *words], np.int32)
        return Output(num_classes=len(ids), ids=ids)
    if not kind.has_classes:
        if not kind.standardized:
            return Output(num_classes=1)
        mean, deviation = (
            (begun.mean, begun.deviation) if begun else _mean_and_deviation(task, source)
        )
        return Output(num_classes=1, mean=mean, deviation=deviation)
    classes = class_names(task, source)
    if not classes:
        raise UserError(f"task {task.name!r}: the train split of {source.name!r} has no targets")
    declared = bool(task.targets and source.features[task.targets].classes)
    if begun and begun.classes and not declared:
        known = indexed(begun.classes)
        if all(named_class(name, known) is not None for name in classes):
            classes = begun.classes
    weights = class_weights(task, classes, source.splits["train"], declared)
    return Output(num_classes=len(classes), classes=classes, class_weights=weights)


def _mean_and_deviation(task: Task, source: Source) -> tuple[float, float]:
    """Those of the targets that count; the deviation of equal ones is 1."""
    assert task.targets is not None
    values = []
    for row in source.splits["train"]:
        value = row[task.targets]
        weight = 1.0 if task.weights is None else row[task.weights]
        counts = weight is not None and is_float32(weight) and weight > 0
        if counts and value is not None and is_float32(value):
            values.append(float(value))
    if not values:
        return 0.0, 1.0
    targets = np.asarray(values)
    if targets.min() == targets.max():
        return values[0], 1.0
    # Numbers up to 1, by a power of 2, which rounds nothing: their squares are float64.
    _, exponent = math.frexp(np.abs(targets).max())
    scaled = np.ldexp(targets, -exponent)
    mean, deviation = (math.ldexp(float(x), exponent) for x in (scaled.mean(), scaled.std()))
    return mean, deviation or 1.0


def check_classes(task: Task, classes: Sequence[str]) -> None:
    """Checks that the classes of a task go with what the task says of them.

    Raises:
        UserError: with the task, the field and what is wrong: tags that do not fit the scheme by
            which their spans are to be counted, or that no allowed sequence has.
    """
    kind = KINDS[task.kind]
    refused = kind.check_classes(metric_names(task, classes), task.scheme, classes)
    if refused is None and chains_tags(task):
        refused = kind.check_steps(task.scheme, task.constrained, classes)
    if refused is not None:
        field, reason = refused
        raise UserError(f"task {task.name!r}, field {field!r}: {reason}")


def class_note(task: Task, classes: Sequence[str]) -> str | None:
    """What a user should know of how the classes of a task are read, in one line; else None."""
    return KINDS[task.kind].class_note(task.metrics, task.scheme, classes)


def _word_ids(task: Task, source: Source, tokenizer: Tokenizer) -> Iterable[int]:
    settings = tokenizer.settings
    special = special_ids(tokenizer)
    if settings.kind != "words":
        return [i for i in range(tokenizer.vocab_size) if i not in special]
    feature = task.targets or task.parts[0]
    texts = (row[feature] for row in source.splits["train"])
    rule = tokenizer.word_rule if isinstance(tokenizer, WordTokenizer) else WORD_RULE
    counts = count_words((text for text in texts if text is not None), settings.lowercase, rule)
    known = {word: i for i, word in enumerate(tokenizer.pieces) if i not in special}
    words = [w for w, n in counts.items() if n >= settings.min_count and w in known]
    return [known[word] for word in sorted(words, key=lambda word: (-counts[word], word))]


def class_names(task: Task, source: Source) -> tuple[str, ...]:
    """Names of the classes or tags of a task, as the data set gives them or train has them."""
    assert task.targets is not None
    feature = source.features[task.targets]
    if feature.classes:
        return feature.classes
    values = (row[task.targets] for row in source.splits["train"])
    if feature.kind in ("tags", "tokens"):
        values = (value for row in values if row is not None for value in row)
    distinct = {(isinstance(value, bool), value): value for value in values}.values()
    names = class_names_of(distinct)
    if "" in distinct and KINDS[task.kind].blank_class(task.scheme, names):
        return ("", *names)
    return names
