"""Projection onto the simplex."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def project_simplex(y: ArrayLike, present: ArrayLike | None = None) -> jax.Array:
    """Returns the point nearest to `y` among those with entries >= 0 that sum to 1.

    Exact, by sorting: Held, Wolfe and Crowder, "Validation of subgradient optimization",
    Mathematical Programming 1974.

    | input | point |
    |---|---|
    | one entry | 1 |
    | equal entries | equal |
    | one entry above the others by 1 or more | 1 there |
    | none present | 0 |

    Args:
      y: ``[T]``, any finite numbers.
      present: boolean ``[T]``; the others get 0. None: all.

    Returns:
      The point ``[T]``.

    >>> project_simplex(jnp.array([0.5, 0.75, -2.0]))
    Array([0.375, 0.625, 0.   ], dtype=float32)
    """
    y = jnp.asarray(y)
    counted = jnp.ones(y.shape, bool) if present is None else jnp.asarray(present)
    # A common shift changes nothing, and what is 1 below the largest entry gets 0.
    largest = jnp.max(jnp.where(counted, y, -jnp.inf), initial=jnp.finfo(y.dtype).min)
    shifted = jnp.where(counted, jnp.maximum(y - largest, -1), -1)
    falling = jnp.sort(shifted, descending=True)
    thresholds = (jnp.cumsum(falling) - 1) / jnp.arange(1, y.size + 1, dtype=y.dtype)
    # The threshold is the largest of these: each is one entry's worth of excess shared by k.
    point = jnp.where(counted, jnp.maximum(shifted - jnp.max(thresholds), 0), 0)
    return point / jnp.maximum(jnp.sum(point), jnp.finfo(y.dtype).tiny)
