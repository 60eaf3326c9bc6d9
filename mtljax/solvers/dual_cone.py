"""Projection onto the directions that conflict with no gradient."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.solvers.nnqp import active_set


def dual_cone(cosines: ArrayLike, lengths: ArrayLike) -> jax.Array:
    r"""Projects a combination of unit gradients onto the cone :math:`\{x : U x \ge 0\}`.

    With the unit gradients as the rows of U and :math:`K = U U^T`, the projection of
    :math:`U^T b` is :math:`U^T (b + y)` with the least :math:`(b+y)^T K (b+y)` over
    :math:`y \ge 0`. It is solved exactly, as a problem of `nnqp` and at its cost: a few Cholesky
    factorisations of ``[T, T]``.

    | input | y |
    |---|---|
    | no conflict | 0 |
    | a zero gradient | 0 for it |
    | two opposite gradients | the two cancel |

    Args:
      cosines: ``[T, T]``, of a `UnitGramian`.
      lengths: ``[T]``, b: for weights w of gradients with these norms, ``w * norms``.

    Returns:
      What to add, y ``[T]``, in terms of unit gradients: ``y / norms`` is what to add to the
      weights.

    >>> dual_cone(jnp.array([[1.0, -0.5], [-0.5, 1.0]]), jnp.array([1.0, 0.0]))
    Array([0. , 0.5], dtype=float32)
    """
    lengths = jnp.asarray(lengths)
    longest = jnp.max(jnp.abs(lengths))
    shares = lengths / jnp.where(longest > 0, longest, 1)
    cosines = jnp.asarray(cosines)
    return longest * active_set(cosines, cosines @ shares, jnp.zeros_like(shares)).x
