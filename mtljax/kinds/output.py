"""What a task's head predicts: its classes, or the words of its language model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Output:
    """The output of one task.

    Attributes:
        num_classes: number of classes; 1 for a number.
        classes: their names; empty for numbers and for tasks that write text.
        ids: for tasks that write text int32 `[num_classes]`, the input id of each class: class 0 is
            `<oov>`, class 1 `</s>`, then the words; else None.
        class_weights: weights of the classes in training; empty where all weigh 1.
        mean: of the targets of a number in training; the head predicts how far a target is from it.
        deviation: what one is of what the head predicts, above 0: the standard deviation of these
            targets.
    """

    num_classes: int
    classes: tuple[str, ...] = ()
    ids: np.ndarray | None = None
    class_weights: tuple[float, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    def class_of_id(self, vocab_size: int) -> np.ndarray:
        """int32 `[vocab_size]`, the class of each input id; 0 (`<oov>`) for ids that have none."""
        table = np.zeros(vocab_size, np.int32)
        if self.ids is not None:
            table[self.ids] = np.arange(self.num_classes, dtype=np.int32)
        return table

    def to_json(self) -> dict[str, Any]:
        """The output as plain JSON."""
        ids = None if self.ids is None else self.ids.tolist()
        scale = {"mean": self.mean, "deviation": self.deviation}
        return {
            "num_classes": self.num_classes,
            "classes": list(self.classes),
            "ids": ids,
            "class_weights": list(self.class_weights),
            # Left out where targets are as they are, as in runs of before.
            **(scale if (self.mean, self.deviation) != (0.0, 1.0) else {}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Output":
        """Reads what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        ids = content["ids"]
        mean, deviation = (float(content.get(*field)) for field in (("mean", 0), ("deviation", 1)))
        if not (math.isfinite(mean) and math.isfinite(deviation) and deviation > 0):
            raise ValueError(f"mean {mean} and deviation {deviation} of numbers")
        return cls(
            num_classes=content["num_classes"],
            classes=tuple(content["classes"]),
            ids=None if ids is None else np.asarray(ids, np.int32),
            class_weights=tuple(content["class_weights"]),
            mean=mean,
            deviation=deviation,
        )
