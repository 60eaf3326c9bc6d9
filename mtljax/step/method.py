"""A multi-objective method, and what a step does for it."""

from typing import NamedTuple

from optax.experimental import aggregating

from mtljax.weighting import Weighting

Rule = Weighting | aggregating.Aggregator

GRADIENT_SIGNALS = frozenset(
    {"gramian", "gramian_diagonal", "cross_gramian", "validation_gradients"}
)
"""Signals that are products of per-task gradients."""

HEADS = ("auto", "own", "weighted")
"""Which gradient a head takes, see `Method.heads`."""


class Method(NamedTuple):
    """A weighting or an aggregator, with what a step has to know of it.

    Attributes:
      rule: a weighting, or an Optax aggregator.
      requires: the signals that it reads: names of `mtljax.weighting.SIGNALS`, or of an
        aggregator's keyword arguments out of `mtljax.aggregation.REQUIRES`.
      heads: which gradient a head takes. ``'own'``: that of its task's own loss. ``'weighted'``:
        that times the weight of the step, for a weighting that reads no gradients; for the others
        times the weight divided by the mean of all, for those weights may have units. ``'auto'``:
        ``'weighted'`` for a weighting that reads no gradients, else ``'own'``.
      inner_lr: learning rate of the inner steps of bilevel methods, which are gradient descent.
      inner_steps: number of inner steps, for methods that take several.
      takes_rows: whether an aggregator takes gradients of tables by rows, `gradients.RowGradients`;
        others get ``[T, *param]``. Weightings take them.
    """

    rule: Rule
    requires: frozenset[str] = frozenset({"losses"})
    heads: str = "auto"
    inner_lr: float = 0.1
    inner_steps: int = 5
    takes_rows: bool = False


def as_method(rule: Method | Rule) -> Method:
    """A method with the defaults of `Method` around a weighting or an aggregator."""
    if isinstance(rule, Method):
        return rule
    return Method(rule, rule.requires) if isinstance(rule, Weighting) else Method(rule)


def check_heads(method: Method) -> None:
    """Check that the heads can take the gradient that a method names.

    Raises:
      ValueError: another value of `heads`, or ``'weighted'`` for an aggregator.
    """
    if method.heads not in HEADS:
        raise ValueError(f"heads must be one of {', '.join(HEADS)}, got {method.heads!r}")
    if method.heads == "weighted" and not isinstance(method.rule, Weighting):
        raise ValueError("heads must be 'own' for an aggregator, which has no weights")


def reads_gradients(method: Method) -> bool:
    """Whether a step has to take per-task gradients for it."""
    return not isinstance(method.rule, Weighting) or bool(method.requires & GRADIENT_SIGNALS)


def weighted_heads(method: Method) -> bool:
    """Whether the heads take the gradient of the weighted loss rather than of their own."""
    return method.heads == "weighted" or (method.heads == "auto" and not reads_gradients(method))
