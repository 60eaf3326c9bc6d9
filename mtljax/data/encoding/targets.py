"""Targets and weights of a task, in flat arrays beside the ids of its inputs."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mtljax.data.encoding.labels import as_class
from mtljax.data.encoding.outputs import Output
from mtljax.data.tokenizers import END, Encodings, Tokenizer
from mtljax.tasks.task import Task

TOKEN_KINDS = ("tagging", "language_model", "text_to_text")
"""The kinds of task that have one target a token; the others have one an example."""

Rows = Sequence[Mapping[str, Any]]
Fault = Callable[[int, str], None]
"""Told the number of a row and what is wrong with it. It raises, or the row counts as missing."""


def read_targets(
    task: Task,
    rows: Rows,
    encodings: Encodings,
    output: Output,
    tokenizer: Tokenizer,
    fault: Fault,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the targets of one task.

    Args:
        task: the task.
        rows: rows of its data set.
        encodings: their inputs, uncut.
        output: what the task predicts.
        tokenizer: made the encodings.
        fault: called for a row that cannot be used.

    Returns:
        Targets, int32 or float32, and weights `alpha_ij`, float32; both `[n]` for kinds with a
        target a token, `[rows]` for the others; 0 where there is none. Targets of `multilabel` are
        uint8 `[rows, classes]`, 1 for the labels that a row has.
    """
    faulty: set[int] = set()

    def once(row: int, reason: str) -> None:
        # A row is one, however much is wrong with it.
        if row not in faulty:
            faulty.add(row)
            fault(row, reason)

    return _READERS[task.kind](task, rows, encodings, output, tokenizer, once)


def _sample_weights(task: Task, rows: Rows, fault: Fault) -> np.ndarray:
    weights = np.ones(len(rows), np.float32)
    if task.weights is None:
        return weights
    for i, row in enumerate(rows):
        value = row[task.weights]
        if value is None or not math.isfinite(value) or value < 0:
            fault(i, f"weight {value!r} is not a finite number from 0")
            value = 0.0
        weights[i] = value
    return weights


def _classification(
    task: Task,
    rows: Rows,
    encodings: Encodings,
    output: Output,
    tokenizer: Tokenizer,
    fault: Fault,
) -> tuple[np.ndarray, np.ndarray]:
    index = {name: i for i, name in enumerate(output.classes)}
    targets = np.full(len(rows), -1, np.int32)
    for i, row in enumerate(rows):
        try:
            targets[i] = as_class(row[task.targets or ""], output.classes, index)
        except ValueError as error:
            fault(i, str(error))
    weights = np.where(targets >= 0, _sample_weights(task, rows, fault), 0)
    return np.maximum(targets, 0), weights.astype(np.float32)


def _multilabel(
    task: Task,
    rows: Rows,
    encodings: Encodings,
    output: Output,
    tokenizer: Tokenizer,
    fault: Fault,
) -> tuple[np.ndarray, np.ndarray]:
    index = {name: i for i, name in enumerate(output.classes)}
    targets = np.zeros((len(rows), output.num_classes), np.uint8)
    present = np.zeros(len(rows), bool)
    for i, row in enumerate(rows):
        labels = row[task.targets or ""]
        if labels is None:
            continue
        try:
            numbers = [as_class(label, output.classes, index) for label in labels]
        except ValueError as error:
            fault(i, str(error))
            continue
        # No label at all is an answer; one that is missing leaves the answer open.
        present[i] = -1 not in numbers
        targets[i, numbers if present[i] else []] = 1
    weights = np.where(present, _sample_weights(task, rows, fault), 0)
    return targets, weights.astype(np.float32)


def _regression(
    task: Task,
    rows: Rows,
    encodings: Encodings,
    output: Output,
    tokenizer: Tokenizer,
    fault: Fault,
) -> tuple[np.ndarray, np.ndarray]:
    values = [row[task.targets or ""] for row in rows]
    targets = np.asarray([math.nan if v is None else v for v in values], np.float32)
    present = np.isfinite(targets)
    weights = np.where(present, _sample_weights(task, rows, fault), 0)
    return np.where(present, targets, 0).astype(np.float32), weights.astype(np.float32)


def _tagging(
    task: Task,
    rows: Rows,
    encodings: Encodings,
    output: Output,
    tokenizer: Tokenizer,
    fault: Fault,
) -> tuple[np.ndarray, np.ndarray]:
    index = {name: i for i, name in enumerate(output.classes)}
    flat: list[int] = []
    offsets = np.zeros(len(rows), np.int64)
    for i, row in enumerate(rows):
        offsets[i] = len(flat)
        flat += _tags(row[task.targets or ""], len(row[task.parts[0]]), output, index, i, fault)
    row_of = np.repeat(np.arange(len(rows)), np.diff(encodings.starts))
    # A last tag that nobody reads keeps the look-up inside the array.
    tags = np.asarray([*flat, -1], np.int32)
    at = np.where(encodings.words >= 0, offsets[row_of] + encodings.words, len(flat))
    targets = tags[at]
    weights = np.where(targets >= 0, _sample_weights(task, rows, fault)[row_of], 0)
    return np.maximum(targets, 0), weights.astype(np.float32)


def _tags(
    tags: Any, words: int, output: Output, index: Mapping[str, int], row: int, fault: Fault
) -> list[int]:
    if tags is None:
        return [-1] * words
    if len(tags) != words:
        fault(row, f"{len(tags)} tags for {words} words")
        return [-1] * words
    try:
        return [as_class(tag, output.classes, index) for tag in tags]
    except ValueError as error:
        fault(row, str(error))
        return [-1] * words


def _language_model(
    task: Task,
    rows: Rows,
    encodings: Encodings,
    output: Output,
    tokenizer: Tokenizer,
    fault: Fault,
) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.diff(encodings.starts)
    weights = np.repeat(_sample_weights(task, rows, fault), lengths)
    return _next_words(encodings, output, tokenizer), weights


def _text_to_text(
    task: Task,
    rows: Rows,
    encodings: Encodings,
    output: Output,
    tokenizer: Tokenizer,
    fault: Fault,
) -> tuple[np.ndarray, np.ndarray]:
    present = np.asarray([row[task.targets or ""] is not None for row in rows], bool)
    weights = np.where(present, _sample_weights(task, rows, fault), 0)
    lengths = np.diff(encodings.starts)
    # From the mark before the target on, a position predicts what is to be learned.
    marks = np.cumsum(encodings.tokens == END)
    inside = marks > np.repeat(marks[encodings.starts[:-1]], lengths)
    targets = np.where(inside, _next_words(encodings, output, tokenizer), 0)
    weights = np.where(inside, np.repeat(weights, lengths), 0)
    return targets.astype(np.int32), weights.astype(np.float32)


def _next_words(encodings: Encodings, output: Output, tokenizer: Tokenizer) -> np.ndarray:
    classes = output.class_of_id(tokenizer.vocab_size)[encodings.tokens]
    targets = np.empty_like(classes)
    targets[:-1] = classes[1:]
    targets[encodings.starts[1:] - 1] = 1  # </s>
    return targets


_READERS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "classification": _classification,
    "multilabel": _multilabel,
    "regression": _regression,
    "tagging": _tagging,
    "language_model": _language_model,
    "text_to_text": _text_to_text,
}
