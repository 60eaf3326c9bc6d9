"""Gradients of several batches, summed before the method sees them."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.step.objectives import Objectives
from mtljax.step.per_task import without_not_finite
from mtljax.step.state import GradientSums
from mtljax.step.strategy import Strategy
from mtljax.step.types import Measured


def zeros(like: Measured) -> GradientSums:
    """Sums of no batch, in the shapes of what a step measures; float32 at least."""

    def empty(leaf: Any) -> jax.Array:
        return jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32))

    return GradientSums(jnp.zeros((), jnp.int32), jax.tree.map(empty, like))


def add(
    objectives: Objectives,
    strategy: Strategy,
    non_finite: str,
    sums: GradientSums,
    measured: Measured,
    losses: jax.Array,
) -> tuple[GradientSums, jax.Array]:
    """Adds a batch.

    Args:
      objectives: what is minimized.
      strategy: of the step.
      non_finite: what a number that is not finite does: 'leave_out' its task of this batch, 'skip'
        this batch.
      sums: of the batches before.
      measured: of this batch.
      losses: ``[T]``, of this batch.

    Returns:
      The new sums, and the tasks with a number that is not finite: ``[T]`` bool.
    """
    not_finite = (measured.present > 0) & ~jnp.isfinite(losses)
    if strategy.by_task:
        clean, not_finite = without_not_finite(objectives, measured)
        measured = clean if non_finite == "leave_out" else measured
    new = GradientSums(sums.count + 1, jax.tree.map(jnp.add, sums.measured, measured))
    if non_finite == "skip":
        leaves = jax.tree.leaves((measured.shared, measured.heads))
        bad = jnp.any(not_finite) | ~jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in leaves]))
        new = jax.tree.map(lambda n, o: jnp.where(bad, o, n), new, sums)
    return new, not_finite


def mean(sums: GradientSums) -> Measured:
    """The mean of all batches: a task that is absent from one counts with zeros there."""
    count = sums.count
    measured = jax.tree.map(lambda leaf: leaf / count.astype(leaf.dtype), sums.measured)
    return measured._replace(present=sums.measured.present)
