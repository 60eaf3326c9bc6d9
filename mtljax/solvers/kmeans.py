"""Groups of numbers that lie close together."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def kmeans(values: ArrayLike, num_groups: int, present: ArrayLike | None = None) -> jax.Array:
    """Splits numbers into groups with the least sum of squared distances to the group means.

    Exact, by dynamic programming over the sorted numbers (Wang and Song, "Ckmeans.1d.dp", R
    Journal 2011): in one dimension the best groups are intervals. It takes memory of the order of
    T cubed: for tens of numbers.

    | input | groups |
    |---|---|
    | `num_groups` >= T | one number each |
    | fewer different numbers than groups | a sum of 0; equal numbers may be in different groups |
    | equally good groupings | the one whose last groups are largest |

    Args:
      values: ``[T]``, any finite numbers.
      num_groups: the most groups there may be, 1 or more.
      present: boolean ``[T]``; the others are ignored and get the label 0. None: all.

    Returns:
      Labels int32 ``[T]`` in 0 to ``num_groups - 1``, rising with the numbers.

    Raises:
      ValueError: less than one group.

    >>> kmeans(jnp.array([5.0, 1.0, 4.0, 1.5]), 2)
    Array([1, 0, 1, 0], dtype=int32)
    """
    if num_groups < 1:
        raise ValueError(f"num_groups must be 1 or more, got {num_groups}")
    values = jnp.asarray(values)
    size = values.size
    counted = jnp.ones(size, bool) if present is None else jnp.asarray(present)
    lowest = jnp.min(jnp.where(counted, values, jnp.inf))
    highest = jnp.max(jnp.where(counted, values, -jnp.inf))
    # Sixteenths, since the largest differences would overflow, and their reciprocals underflow.
    width = highest / 16 - lowest / 16
    shares = (values / 16 - lowest / 16) / jnp.where(width > 0, width, 1)
    shares = jnp.where(counted & (width > 0), shares, jnp.where(counted, 0, 2))
    order = jnp.argsort(shares)
    costs = _costs(shares[order], counted[order])

    def stage(best: jax.Array, _):
        """From the least costs of k groups of the first i numbers to those of k + 1 groups."""
        sums = best[:, None] + costs
        return jnp.min(sums, axis=0), jnp.argmin(sums, axis=0)

    no_groups = jnp.where(jnp.arange(size + 1) == 0, 0, jnp.inf).astype(costs.dtype)
    _, starts = jax.lax.scan(stage, no_groups, length=min(num_groups, size))

    def trace_back(end: jax.Array, start: jax.Array):
        return start[end], start[end]

    _, begins = jax.lax.scan(trace_back, jnp.asarray(size), starts, reverse=True)
    labels = jnp.sum(jnp.arange(size)[:, None] >= begins[1:], axis=1)
    return jnp.where(counted, jnp.zeros(size, jnp.int32).at[order].set(labels.astype(jnp.int32)), 0)


def _costs(values: jax.Array, counts: jax.Array) -> jax.Array:
    """The cost ``[T + 1, T + 1]`` of a group from number i up to, without, number j.

    Means are summed from differences to the first number, so that a close group far from the
    origin keeps its digits. Infinite where j < i.
    """
    size = values.size
    positions = jnp.arange(size + 1)
    started = positions[:, None, None] <= positions[:size]
    inside = started & (positions[:size] < positions[None, :, None]) & counts
    differences = values - jnp.concatenate([values, values[-1:]])[:, None]
    number = jnp.maximum(jnp.sum(inside, axis=2), 1)
    means = jnp.sum(jnp.where(inside, differences[:, None, :], 0), axis=2) / number
    squares = jnp.where(inside, (differences[:, None, :] - means[:, :, None]) ** 2, 0)
    return jnp.where(positions[:, None] <= positions, jnp.sum(squares, axis=2), jnp.inf)
