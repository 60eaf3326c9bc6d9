"""What a step asks of a method, and what it finds."""

from typing import Any, NamedTuple

import jax
from optax.experimental import aggregating

from mtljax.optim import MultiObjectiveState
from mtljax.training.inputs.extra import Extra
from mtljax.training.objective import StepBatch
from mtljax.weighting import Weighting

Rule = Weighting | aggregating.Aggregator

GRADIENT_SIGNALS = frozenset(
    {"gramian", "gramian_diagonal", "cross_gramian", "validation_gradients"}
)


HEADS = ("auto", "own", "weighted")


class Method(NamedTuple):
    """A multi-objective method and how a step serves it.

    Attributes:
      rule: a weighting, or an Optax aggregator.
      requires: what it reads: signals of `mtljax.weighting.SIGNALS`, or keywords of an aggregator
        out of `mtljax.aggregation.REQUIRES`.
      heads: which gradient a head takes, see `make_step`.
      inner_lr: learning rate of the inner steps of bilevel methods, which are gradient descent.
      inner_steps: how many of them, where a method takes several.
    """

    rule: Rule
    requires: frozenset[str] = frozenset({"losses"})
    heads: str = "auto"
    inner_lr: float = 0.1
    inner_steps: int = 5


def as_method(rule: Method | Rule) -> Method:
    """A method served in the usual way."""
    if isinstance(rule, Method):
        return rule
    return Method(rule, rule.requires) if isinstance(rule, Weighting) else Method(rule)


def check_heads(method: Method) -> None:
    """Raises ValueError unless the heads can take the gradient that a method names."""
    if method.heads not in HEADS:
        raise ValueError(f"heads must be one of {', '.join(HEADS)}, got {method.heads!r}")
    if method.heads == "weighted" and not isinstance(method.rule, Weighting):
        raise ValueError("heads must be 'own' for an aggregator, which has no weights")


def reads_gradients(method: Method) -> bool:
    """Whether a step needs per-task gradients for it."""
    return not isinstance(method.rule, Weighting) or bool(method.requires & GRADIENT_SIGNALS)


def weighted_heads(method: Method) -> bool:
    """Whether the heads take the gradient of the weighted loss rather than of their own."""
    return method.heads == "weighted" or (method.heads == "auto" and not reads_gradients(method))


class StepInputs(NamedTuple):
    """What a step reads.

    Attributes:
      batch: the training batch.
      extra: further batches.
      key: of the step.
      present: ``[T]`` bool, tasks with a target.
      importance: ``[T]``, the tasks' own weights.
      signals: those that are no gradients: losses after the step before, validation losses.
    """

    batch: StepBatch
    extra: Extra
    key: jax.Array
    present: jax.Array
    importance: jax.Array
    signals: dict[str, jax.Array]


class Measured(NamedTuple):
    """The gradients of one batch, before the method has its say; sums of them accumulate.

    Attributes:
      objectives: ``[T]``, the losses times the tasks' own weights.
      present: ``[T]``, above 0 for tasks that count.
      shared: of the shared parameters: ``[T, *param]``, or ``[*param]`` where they are combined.
      heads: by task.
      sketches: ``[T, m]`` where these are all that is left of the per-task gradients.
    """

    objectives: jax.Array
    present: jax.Array
    shared: Any
    heads: Any
    sketches: jax.Array | None = None


class Direction(NamedTuple):
    """What a step found.

    Attributes:
      direction: a tree like the parameters, to be subtracted, without the penalty's part.
      weights: ``[T]``, or None.
      not_finite: ``[T]`` bool, tasks present whose loss or gradient is not finite.
      optimizer: the state with the method's part moved on.
      gramian: ``[T, T]`` of the shared parameters' gradients, if it is known.
      row_scale: ``[T]``, what their rows were divided by, or None.
    """

    direction: Any
    weights: jax.Array | None
    not_finite: jax.Array
    optimizer: MultiObjectiveState
    gramian: jax.Array | None = None
    row_scale: jax.Array | None = None
