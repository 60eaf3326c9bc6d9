"""Examples: one split of an input group, tokenised, with the targets of its tasks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtljax.data.groups import Group
from mtljax.data.outputs import Output, as_class
from mtljax.data.packing import spans
from mtljax.data.source import Source
from mtljax.data.tokenizers import Encodings, Text, Tokenizer
from mtljax.errors import UserError
from mtljax.tasks.task import Task

TOKEN_KINDS = ("tagging", "language_model")
"""The kinds of task that have one target a token; the others have one an example."""


@dataclass(frozen=True)
class Examples:
    """Tokenised examples, one after another in flat arrays.

    Attributes:
        tokens: int32 `[n]`, ids.
        affixes: int32 `[n, A]`, hashed affixes.
        starts: int64 `[examples + 1]`, where each example starts, and the end of the last one.
        rows: int32 `[examples]`, the row of the split that each example comes from; several
            examples in turn have the same one if it was read in chunks.
        targets: by task, int32 or float32, `[n]` for kinds with a target a token, `[examples]` for
            the others; 0 where there is none.
        weights: by task, float32 of the same shape: `alpha_ij`, 0 where nothing is to be counted.
    """

    tokens: np.ndarray
    affixes: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    targets: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]

    @property
    def lengths(self) -> np.ndarray:
        """int64 `[examples]`, ids in each example."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.rows)


def read_examples(
    group: Group,
    split: str,
    sources: Mapping[str, Source],
    tokenizer: Tokenizer,
    outputs: Mapping[str, Output],
    row_length: int,
) -> Examples:
    """Tokenises one split of an input group.

    Args:
        group: the tasks.
        split: name of a split of all their data sets.
        sources: data sets by name.
        tokenizer: a trained one.
        outputs: by task.
        row_length: longest example there may be, in ids.

    Returns:
        All rows of the split, in order. Texts longer than `row_length` or the group's `max_length`
        are cut off, those of a group of language models split into consecutive chunks.

    Raises:
        UserError: with task, split and row, if a target or weight cannot be used.
    """
    limit = min(row_length, group.max_length or row_length)
    rows = sources[group.tasks[0].source_name].splits[split]
    texts = [row[group.inputs] for row in rows]
    # One id more than is kept, which the last position of a text that is cut off predicts.
    encodings = tokenizer.encode(texts, None if group.chunked else limit + 1)
    targets, weights = {}, {}
    for task in group.tasks:
        rows = sources[task.source_name].splits[split]
        reader = _READERS[task.kind]
        try:
            targets[task.name], weights[task.name] = reader(
                task, rows, encodings, outputs[task.name], tokenizer
            )
        except _RowError as error:
            raise UserError(
                f"task {task.name!r}, data set {task.source_name!r}, "
                f"split {split!r}, row {error.row}: {error}"
            ) from None
    per_token = [task.name for task in group.tasks if task.kind in TOKEN_KINDS]
    return _cut(encodings, targets, weights, per_token, limit, group.chunked)


def encode_inputs(texts: Sequence[Text], tokenizer: Tokenizer, limit: int) -> Examples:
    """Examples without targets, cut off after `limit` ids."""
    return _cut(tokenizer.encode(texts, limit), {}, {}, [], limit, chunked=False)


class _RowError(ValueError):
    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


_Rows = Sequence[Mapping[str, Any]]
_Targets = tuple[np.ndarray, np.ndarray]


def _sample_weights(task: Task, rows: _Rows) -> np.ndarray:
    weights = np.ones(len(rows), np.float32)
    if task.weights is None:
        return weights
    for i, row in enumerate(rows):
        value = row[task.weights]
        if value is None or not math.isfinite(value) or value < 0:
            raise _RowError(i, f"weight {value!r} is not a finite number from 0")
        weights[i] = value
    return weights


def _classification(
    task: Task, rows: _Rows, encodings: Encodings, output: Output, tokenizer: Tokenizer
) -> _Targets:
    index = {name: i for i, name in enumerate(output.classes)}
    targets = np.empty(len(rows), np.int32)
    for i, row in enumerate(rows):
        try:
            targets[i] = as_class(row[task.targets or ""], output.classes, index)
        except ValueError as error:
            raise _RowError(i, str(error)) from None
    weights = np.where(targets >= 0, _sample_weights(task, rows), 0)
    return np.maximum(targets, 0), weights.astype(np.float32)


def _regression(
    task: Task, rows: _Rows, encodings: Encodings, output: Output, tokenizer: Tokenizer
) -> _Targets:
    values = [row[task.targets or ""] for row in rows]
    targets = np.asarray([math.nan if v is None else v for v in values], np.float32)
    present = np.isfinite(targets)
    weights = np.where(present, _sample_weights(task, rows), 0)
    return np.where(present, targets, 0).astype(np.float32), weights.astype(np.float32)


def _tagging(
    task: Task, rows: _Rows, encodings: Encodings, output: Output, tokenizer: Tokenizer
) -> _Targets:
    index = {name: i for i, name in enumerate(output.classes)}
    flat: list[int] = []
    offsets = np.zeros(len(rows), np.int64)
    for i, row in enumerate(rows):
        words = len(row[task.inputs])
        tags = row[task.targets or ""]
        tags = [-1] * words if tags is None else tags
        if len(tags) != words:
            raise _RowError(i, f"{len(tags)} tags for {words} words")
        offsets[i] = len(flat)
        try:
            flat += [as_class(tag, output.classes, index) for tag in tags]
        except ValueError as error:
            raise _RowError(i, str(error)) from None
    row_of = np.repeat(np.arange(len(rows)), np.diff(encodings.starts))
    # A last tag that nobody reads keeps the look-up inside the array.
    tags = np.asarray([*flat, -1], np.int32)
    at = np.where(encodings.words >= 0, offsets[row_of] + encodings.words, len(flat))
    targets = tags[at]
    weights = np.where(targets >= 0, _sample_weights(task, rows)[row_of], 0)
    return np.maximum(targets, 0), weights.astype(np.float32)


def _language_model(
    task: Task, rows: _Rows, encodings: Encodings, output: Output, tokenizer: Tokenizer
) -> _Targets:
    classes = output.class_of_id(tokenizer.vocab_size)[encodings.tokens]
    targets = np.empty_like(classes)
    targets[:-1] = classes[1:]
    targets[encodings.starts[1:] - 1] = 1  # </s>
    lengths = np.diff(encodings.starts)
    return targets, np.repeat(_sample_weights(task, rows), lengths)


_READERS: dict[str, Callable[..., _Targets]] = {
    "classification": _classification,
    "regression": _regression,
    "tagging": _tagging,
    "language_model": _language_model,
}


def _cut(
    encodings: Encodings,
    targets: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    per_token: Sequence[str],
    limit: int,
    chunked: bool,
) -> Examples:
    starts, lengths = encodings.starts[:-1], np.diff(encodings.starts)
    pieces = -(-lengths // limit) if chunked else np.ones_like(lengths)
    rows = np.repeat(np.arange(len(lengths)), pieces)
    # Number of each chunk within its text.
    number = np.arange(len(rows)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = starts[rows] + number * limit
    kept = np.minimum(lengths[rows] - number * limit, limit)
    at = spans(begin, kept)

    def select(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: v[at] if name in per_token else v[rows] for name, v in values.items()}

    return Examples(
        tokens=encodings.tokens[at],
        affixes=encodings.affixes[at],
        starts=np.concatenate([[0], np.cumsum(kept)]).astype(np.int64),
        rows=rows.astype(np.int32),
        targets=select(targets),
        weights=select(weights),
    )
