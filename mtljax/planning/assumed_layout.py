"""The layout of data that is not read, or only in part: for plans, before a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mtljax.data.batching.batches import Shape
from mtljax.data.batching.mixture import rows_per_group
from mtljax.data.encoding.input_groups import input_groups, reads_word_starts
from mtljax.data.layout import Layout
from mtljax.data.load_data import load_data
from mtljax.data.options import DataOptions
from mtljax.data.sources.source import Feature, Source
from mtljax.data.tokenizers import TokenizerSettings, train_tokenizer
from mtljax.errors import UserError
from mtljax.kinds import KINDS, FeatureKind, Output
from mtljax.special_tokens import END, OOV, SPECIALS
from mtljax.tasks.task import Task

SAMPLE = 10_000
"""Rows of a split that are read to know a data set."""


@dataclass(frozen=True)
class Assumed:
    """Sizes of data that is not read.

    Attributes:
        classes: of the tasks whose data set declares none in the tasks file; if not 0, no data is
            read at all.
        vocabulary: ids of the tokenizer; 0 for what its settings allow.
        texts: texts in a row at most, where no data is read.
    """

    classes: int = 0
    vocabulary: int = 0
    texts: int = 8


NOTHING_ASSUMED = Assumed()
"""Everything is read from the data."""


def planned_layout(
    tasks: Sequence[Task],
    options: DataOptions,
    assumed: Assumed = NOTHING_ASSUMED,
    *,
    tokenizer: TokenizerSettings,
    data_dir: Any = None,
) -> Layout:
    """The layout of a run's data from the first rows of each split, or from none.

    Args:
        tasks: with unique names.
        options: how their texts are read and batched.
        assumed: sizes of what is not read.
        tokenizer: its settings.
        data_dir: where data sets in TFDS format lie.

    Returns:
        The layout. Of a vocabulary whose texts were not all read, the size is the largest that the
        settings allow; groups of which nothing is read have equal rates.

    Raises:
        UserError: as `load_data`; nothing tells the size of a vocabulary.
    """
    if not assumed.classes:
        data = load_data(tasks, options, data_dir=data_dir, tokenizer=tokenizer, sample=SAMPLE)
        sampled = any(len(source.splits["train"]) == SAMPLE for source in data.sources.values())
        size = assumed.vocabulary or (_vocabulary(tokenizer) if sampled else 0)
        if not size:
            return data.layout
        writers = [task.name for task in data.layout.tasks if KINDS[task.kind].writes]
        outputs = {**data.layout.outputs, **dict.fromkeys(writers, _word_output(size))}
        return replace(data.layout, outputs=outputs, vocab_size=size)
    size = assumed.vocabulary or _vocabulary(tokenizer)
    groups = input_groups(tasks, _sources(tasks), options.attention, apart=options.apart)
    # Equal numbers of tokens and examples, so that the groups have equal rates.
    tokens = dict.fromkeys((group.name for group in groups), options.row_length)
    rows = rows_per_group(
        groups,
        tokens,
        dict.fromkeys(tokens, assumed.texts),
        options.batch_tokens,
        options.row_length,
        options.mixture,
        multiple=options.row_multiple,
    )
    shapes = {
        group.name: Shape(
            rows[group.name],
            options.row_length,
            assumed.texts,
            tokenizer.affixes,
            reads_word_starts(group, tokenizer),
        )
        for group in groups
    }
    outputs = {task.name: _output(task, assumed.classes, size) for task in tasks}
    buckets = tokenizer.affix_buckets if tokenizer.hashed else 0
    return Layout(groups, outputs, shapes, size, buckets, characters=tokenizer.spelled)


def _vocabulary(settings: TokenizerSettings) -> int:
    """Ids of a tokenizer, as many as its settings allow."""
    if settings.kind == "words":
        return settings.num_words + len(SPECIALS)
    if settings.kind in ("bpe", "wordpiece"):
        return settings.vocab_size
    if settings.kind == "character":
        raise UserError("the data says how many characters there are: give --assume.vocabulary")
    return train_tokenizer((), settings).vocab_size


def _output(task: Task, classes: int, size: int) -> Output:
    kind = KINDS[task.kind]
    if kind.writes:
        return _word_output(size)
    if not kind.has_classes:
        return Output(num_classes=1)
    declared = _declared(task)
    names = declared or tuple(map(str, range(classes)))
    weights = (1.0,) * len(names) if task.class_weights else ()
    return Output(len(names), names, class_weights=weights)


def _word_output(size: int) -> Output:
    ids = np.asarray([OOV, END, *range(len(SPECIALS), size)], np.int32)
    return Output(num_classes=len(ids), ids=ids)


def _declared(task: Task) -> tuple[str, ...]:
    """The classes that the description of a task's data set names."""
    for dataset in task.sources:
        for column in dataset.features:
            if column.name == task.targets and isinstance(column.classes, tuple):
                return column.classes
    return ()


def _sources(tasks: Sequence[Task]) -> Mapping[str, Source]:
    """Data sets without rows, with the features that the tasks name."""
    features: dict[str, dict[str, Feature]] = {}
    for task in tasks:
        of_source = features.setdefault(task.source_name, {})
        usual = KINDS[task.kind].input_features[0]
        for name in task.parts:
            # All kinds read lists of words, some read nothing else.
            if usual == "tokens" or name not in of_source:
                of_source[name] = Feature(usual)
    for task in tasks:
        of_source = features[task.source_name]
        target_features = KINDS[task.kind].target_features
        target: FeatureKind = target_features[0] if target_features else "text"
        kinds: tuple[tuple[str | None, FeatureKind], ...] = (
            (task.targets, target),
            (task.references, "text"),
            (task.weights, "number"),
        )
        for name, kind in kinds:
            if name is not None:
                of_source.setdefault(name, Feature(kind))
    return {
        name: Source(name, name, of_source, {"train": ()}) for name, of_source in features.items()
    }
