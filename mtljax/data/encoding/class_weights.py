"""Weights of classes: how much the loss of a target counts in training, by its class."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.kinds.labels import Classes, indexed
from mtljax.kinds.target_rows import is_float32
from mtljax.tasks.suggest import suggestion
from mtljax.tasks.task import Task


def class_weights(
    task: Task, classes: Sequence[str], rows: Iterable[Mapping[str, Any]], numbered: bool = True
) -> tuple[float, ...]:
    """The weight of each class of a task.

    `balanced` gives class `k` the weight `n / (K n_k)`, where `n_k` of the `n` targets of the rows
    are of class `k` and `K` classes occur at all: over all targets the mean weight is 1 (King and
    Zeng, "Logistic Regression in Rare Events Data", 2001). A class that does not occur weighs 1.
    Missing targets, those of samples of weight 0, and rows that cannot be used are not counted.

    Args:
        task: names the weights; labels that it does not name weigh 1.
        classes: names of all its classes.
        rows: of its training split; only read for `balanced`.
        numbered: whether numbers among the targets are numbers of classes, not names of them.

    Returns:
        A weight for each class, or nothing for a task without class weights.

    Raises:
        UserError: if the task names a class that there is not.
    """
    if task.class_weights is None:
        return ()
    if not isinstance(task.class_weights, str):
        named = dict(task.class_weights)
        for label in named:
            if label not in classes:
                raise UserError(
                    f"task {task.name!r}, field 'class_weights': unknown class "
                    f"{label!r}{suggestion(label, classes)}"
                )
        return tuple(float(named.get(name, 1.0)) for name in classes)
    indices = indexed(classes, numbered)
    counts = Counter(number for row in rows for number in _counted(task, indices, row))
    total = sum(counts.values())
    return tuple(
        total / (len(counts) * counts[i]) if counts[i] else 1.0 for i in range(len(classes))
    )


def _counted(task: Task, classes: Classes, row: Mapping[str, Any]) -> list[int]:
    """The classes of the targets of a row, without those that count for nothing."""
    weight = 1.0 if task.weights is None else row[task.weights]
    target = row[task.targets or ""]
    if weight is None or not (is_float32(weight) and weight > 0) or target is None:
        return []
    row_classes = KINDS[task.kind].row_classes
    assert row_classes is not None
    try:
        numbers = row_classes(target, row.get(task.parts[0]), classes)
    except ValueError:
        return []
    return [number for number in numbers if number >= 0]
