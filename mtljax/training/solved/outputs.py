"""The outputs of linear models: for each a target of every sample, out of the targets of tasks."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from mtljax.data import MultitaskData
from mtljax.kinds import KINDS
from mtljax.linear import SparseFeatures
from mtljax.tasks import Task, loss_name

LOSSES = {"softmax": "logistic", "sigmoid": "logistic", "hinge": "hinge", "squared": "squared"}
"""The loss of a sample by the loss of its task: of several classes, each against the rest."""


class LinearOutput(NamedTuple):
    """One number that a linear model predicts for each text of a task.

    Attributes:
      task: whose it is.
      name: of the task, with the class where it has an output for each.
      features: ``[n, d]``, of the training texts of the task.
      targets: ``[n]``, numbers, or whether a text is of a class: booleans, by squared errors -1
        and 1.
      alpha: ``[n]`` float32, the weights of the samples, 0 where a target is missing.
      loss: of a sample, as `mtljax.linear.fit` names it.
    """

    task: Task
    name: str
    features: SparseFeatures
    targets: np.ndarray
    alpha: np.ndarray
    loss: str


def output_count(task: Task, data: MultitaskData) -> int:
    """The columns that a task has: one for two classes or a number, else one a class."""
    count = data.outputs[task.name].num_classes
    return 1 if count == 2 and not KINDS[task.kind].per_class else count


def linear_outputs(
    task: Task, data: MultitaskData, features: Mapping[str, SparseFeatures]
) -> Iterator[LinearOutput]:
    """The columns of a task: of a number or two classes one, else one for each class."""
    group, output, kind = data.layout.group_of(task.name), data.outputs[task.name], KINDS[task.kind]
    examples, loss = data.examples[group.name]["train"], LOSSES[loss_name(task)]
    targets = np.asarray(examples.targets[task.name])
    alpha = task.weight * np.asarray(examples.weights[task.name], np.float32)
    weights = np.asarray(output.class_weights or np.ones(max(output.num_classes, 1)), np.float32)
    for column in range(output_count(task, data)):
        if not kind.has_classes:
            yield LinearOutput(task, task.name, features[group.name], targets, alpha, loss)
            continue
        single = output_count(task, data) == 1 and output.num_classes == 2
        of_class = column + 1 if single else column
        chosen = targets[:, column] > 0 if kind.per_class else targets == of_class
        name = task.name if single else f"{task.name}: {output.classes[column]}"
        targets_of_class = 2.0 * chosen - 1 if loss == "squared" else chosen
        counted = alpha * (weights[column] if kind.per_class else weights[targets])
        yield LinearOutput(task, name, features[group.name], targets_of_class, counted, loss)


def is_constant(output: LinearOutput) -> bool:
    """Whether all targets that count are the same, or none does."""
    values = output.targets[output.alpha > 0]
    return values.size == 0 or bool(np.all(values == values[0]))


def constant_score(output: LinearOutput) -> float:
    """What an output without a choice is: no penalty holds its intercept, which has no optimum."""
    values = output.targets[output.alpha > 0]
    if output.loss == "squared":
        return float(values[0]) if values.size else 0.0
    if output.loss == "hinge":
        return float(2 * values.any() - 1)
    return float(np.log((np.sum(values) + 0.5) / (np.sum(~values) + 0.5)))
