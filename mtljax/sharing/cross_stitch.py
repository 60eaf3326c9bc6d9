"""Towers of layers, one a task, that are mixed between their layers (cross-stitch units)."""

import jax
import jax.numpy as jnp


def cross_stitch(towers: jax.Array, shares: jax.Array) -> jax.Array:
    """What each tower reads next: the outputs of all, mixed (Misra et al. 2016, equation 1).

    Args:
      towers: ``[T, ...]``, what the same layer of each tower has made.
      shares: ``[T, T]``, of a tower (row) those of all, the same for all features.

    Returns:
      ``[T, ...]``, in the dtype of `towers`.

    >>> cross_stitch(jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([[0.75, 0.25], [0.5, 0.5]]))
    Array([[0.75, 0.5 ],
           [0.5 , 1.  ]], dtype=float32)
    """
    return jnp.tensordot(shares.astype(towers.dtype), towers, 1)


def stitched(x: jax.Array, shares: jax.Array, axis: str) -> jax.Array:
    """One row of `cross_stitch`, where the towers are an axis of `jax.vmap` with a name.

    Args:
      x: ``[...]``, what a layer of this tower has made.
      shares: ``[T]``, its row.
      axis: the name.

    Returns:
      ``[...]``, in the dtype of `x`.
    """
    return jnp.tensordot(shares.astype(x.dtype), jax.lax.all_gather(x, axis), 1)


def near_identity(tasks: int, own: float) -> jax.Array:
    """Shares ``[T, T]`` of which each tower has `own` of itself, and the others the rest evenly."""
    if tasks == 1:
        return jnp.ones((1, 1))
    rest = (1 - own) / (tasks - 1)
    return jnp.full((tasks, tasks), rest) + (own - rest) * jnp.eye(tasks)
