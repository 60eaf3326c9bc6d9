"""A Gramian as cosines and norms."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class UnitGramian(NamedTuple):
    """The Gramian of T gradients, split so that no scale is lost.

    Attributes:
      cosines: ``[T, T]``, symmetric, ones on the diagonal; a gradient that is zero has a zero
        row and column, its diagonal entry included.
      norms: ``[T]``, the lengths of the gradients.
    """

    cosines: jax.Array
    norms: jax.Array


def unit_gramian(gramian: ArrayLike, row_scale: ArrayLike | None = None) -> UnitGramian:
    """Splits a Gramian ``G = D K D`` into cosines ``K`` and norms, the diagonal of ``D``.

    What is solved on ``K`` has one scale, however far apart the norms are: with norms from 1e-9
    to 1e9, ``G`` divided by its largest entry underflows in float32.

    Args:
      gramian: ``[T, T]``, of the gradients, or of the gradients each divided by its `row_scale`.
      row_scale: ``[T]``, positive, for gradients whose squares overflow or underflow.

    Returns:
      The `UnitGramian`: cosines within [-1, 1], and the norms of the gradients themselves.

    >>> unit_gramian(jnp.array([[4.0, -3.0], [-3.0, 9.0]])).norms
    Array([2., 3.], dtype=float32)
    """
    gramian = jnp.asarray(gramian)
    norms = jnp.sqrt(jnp.maximum(jnp.diagonal(gramian), 0))
    inverse = jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1), 0)
    cosines = (gramian * inverse[:, None]) * inverse
    cosines = jnp.clip((cosines + cosines.T) / 2, -1, 1)
    diagonal = jnp.eye(norms.size, dtype=bool)
    cosines = jnp.where(diagonal, (norms > 0).astype(cosines.dtype), cosines)
    return UnitGramian(cosines, norms if row_scale is None else norms * row_scale)
