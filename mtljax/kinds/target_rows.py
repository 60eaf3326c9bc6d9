"""Rows of a data set with their tokenised inputs: what a kind makes targets of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mtljax.kinds.labels import short
from mtljax.kinds.output import Output

Rows = Sequence[Mapping[str, Any]]


class Fault(Protocol):
    """Called for a row that cannot be used: raises, or the row is skipped."""

    def __call__(self, row: int, reason: str, item: int | None = None, /) -> None:
        """What is wrong.

        Args:
            row: the number of the row.
            reason: what is wrong with it.
            item: the number of the tag that is wrong; None where it is none or all of them.
        """


@dataclass(frozen=True)
class TargetRows:
    """Some rows of a task's data set, and their inputs as ids.

    Attributes:
        rows: of the data set, a mapping from the names of features to values each.
        input_name: the feature that is read, of several the first.
        target_name: the feature that is predicted; empty for a kind that needs none.
        weight_name: the feature with the weights of the samples; None for ones.
        tokens: int32 `[n]`, the ids of all rows, one row after another, not truncated.
        words: int32 `[n]`, of which word of its row each id is; -1 for marks such as `<s>`.
        starts: int64 `[rows + 1]`, where the ids of each row start, and the end of the last one.
        end_id: the id that stands between a text and its answer, the last of several.
        vocab_size: number of ids.
        output: what the task predicts.
        fault: called for a row that cannot be used.
        numbered: whether numbers among the targets are numbers of classes, not names of them.
    """

    rows: Rows
    input_name: str
    target_name: str
    weight_name: str | None
    tokens: np.ndarray
    words: np.ndarray
    starts: np.ndarray
    end_id: int
    vocab_size: int
    output: Output
    fault: Fault
    numbered: bool = True

    @property
    def lengths(self) -> np.ndarray:
        """int64 `[rows]`, ids of each row."""
        return np.diff(self.starts)

    def sample_weights(self) -> np.ndarray:
        """float32 `[rows]`, the weight `alpha_ij` of each sample; 0 for one that is no weight."""
        weights = np.ones(len(self.rows), np.float32)
        if self.weight_name is None:
            return weights
        for i, row in enumerate(self.rows):
            value = row[self.weight_name]
            if value is None or not is_float32(value) or value < 0:
                self.fault(i, f"weight {short(value)} is not a finite number from 0")
                value = 0.0
            weights[i] = value
        return weights

    def standardized_numbers(self) -> np.ndarray:
        """float32 `[rows]`, how far the number of each row is from the mean, in deviations.

        NaN where there is none. Differences are float64: of large numbers that differ by little,
        float32 would keep nothing.
        """
        numbers = np.full(len(self.rows), math.nan, np.float32)
        for i, row in enumerate(self.rows):
            value = row[self.target_name]
            if value is None or value != value:
                continue
            if not is_float32(value):
                self.fault(i, f"{short(value)} is beyond float32, which ends at 3.4e38")
                continue
            standardized = (float(value) - self.output.mean) / self.output.deviation
            if is_float32(standardized):
                numbers[i] = standardized
            else:
                mean, unit = self.output.mean, self.output.deviation
                self.fault(i, f"{short(value)} is too far from the mean {mean} in units of {unit}")
        return numbers

    def next_words(self) -> np.ndarray:
        """int32 `[n]`, the class of the id after each id; `</s>` after the last one of a row."""
        classes = self.output.class_of_id(self.vocab_size)[self.tokens]
        targets = np.empty_like(classes)
        targets[:-1] = classes[1:]
        targets[self.starts[1:] - 1] = 1  # </s>
        return targets


_LARGEST = float(np.finfo(np.float32).max)


def is_float32(number: float) -> bool:
    """Whether a number is finite, and stays so in float32.

    >>> is_float32(3e38), is_float32(1e39), is_float32(-(10**400)), is_float32(float("nan"))
    (True, False, False, False)
    """
    # Compared, not converted: a float has no place for large integers.
    return bool(-_LARGEST <= number <= _LARGEST)
