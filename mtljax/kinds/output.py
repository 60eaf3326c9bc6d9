"""What a task's head predicts: its classes, or the words of its language model."""

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
    """

    num_classes: int
    classes: tuple[str, ...] = ()
    ids: np.ndarray | None = None
    class_weights: tuple[float, ...] = ()

    def class_of_id(self, vocab_size: int) -> np.ndarray:
        """int32 `[vocab_size]`, the class of each input id; 0 (`<oov>`) for ids that have none."""
        table = np.zeros(vocab_size, np.int32)
        if self.ids is not None:
            table[self.ids] = np.arange(self.num_classes, dtype=np.int32)
        return table

    def to_json(self) -> dict[str, Any]:
        """The output as plain JSON."""
        ids = None if self.ids is None else self.ids.tolist()
        return {
            "num_classes": self.num_classes,
            "classes": list(self.classes),
            "ids": ids,
            "class_weights": list(self.class_weights),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Output":
        """Reads what `to_json` wrote."""
        ids = content["ids"]
        return cls(
            num_classes=content["num_classes"],
            classes=tuple(content["classes"]),
            ids=None if ids is None else np.asarray(ids, np.int32),
            class_weights=tuple(content["class_weights"]),
        )
