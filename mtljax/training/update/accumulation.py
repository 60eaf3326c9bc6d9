"""Gradients of several batches, added up before the method sees them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.presets import Config
from mtljax.training.model import Model
from mtljax.training.update.per_task import without_not_finite
from mtljax.training.update.strategy import Strategy
from mtljax.training.update.types import Measured


class Sums(NamedTuple):
    """What has come together since the last update.

    Attributes:
      count: batches, int32.
      measured: their sum; `present` counts the batches in which a task was present.
    """

    count: jax.Array
    measured: Measured


def zeros(like: Measured) -> Sums:
    """Sums of nothing, in the shapes of what a step measures; float32 at least."""

    def empty(leaf: Any) -> jax.Array:
        return jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32))

    return Sums(jnp.zeros((), jnp.int32), jax.tree.map(empty, like))


def add(
    model: Model,
    strategy: Strategy,
    config: Config,
    sums: Sums,
    measured: Measured,
    losses: jax.Array,
) -> tuple[Sums, jax.Array]:
    """Adds a batch.

    Args:
      model: the model.
      strategy: that of the step.
      config: says what a number that is not finite does: 'leave_out' its task of this batch, 'skip'
        this batch.
      sums: what there is.
      measured: of this batch.
      losses: ``[T]``, of this batch.

    Returns:
      The new sums, and the tasks with a number that is not finite: ``[T]`` bool.
    """
    not_finite = (measured.present > 0) & ~jnp.isfinite(losses)
    if strategy.by_task:
        clean, not_finite = without_not_finite(model, measured)
        measured = clean if config.non_finite == "leave_out" else measured
    new = Sums(sums.count + 1, jax.tree.map(jnp.add, sums.measured, measured))
    if config.non_finite == "skip":
        leaves = jax.tree.leaves((measured.shared, measured.heads))
        bad = jnp.any(not_finite) | ~jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in leaves]))
        new = jax.tree.map(lambda n, o: jnp.where(bad, o, n), new, sums)
    return new, not_finite


def mean(sums: Sums) -> Measured:
    """The mean of all batches: a task that is absent from one counts with zeros there."""
    count = sums.count
    found = jax.tree.map(lambda leaf: leaf / count.astype(leaf.dtype), sums.measured)
    return found._replace(present=sums.measured.present)
