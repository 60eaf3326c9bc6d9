"""TIES: task vectors trimmed, and merged where they agree in sign."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.merging.task_vectors import checked_models, moved, task_vector


def ties(base: Any, models: Sequence[Any], scale: ArrayLike = 1.0, *, density: float = 0.2) -> Any:
    r"""Merge models by what they agree on: :math:`w_0 + s \tau`.

    Yadav et al., "TIES-Merging: Resolving Interference When Merging Models", NeurIPS 2023, section
    3: of each task vector the entries of largest magnitude are kept, the others are 0; an entry's
    sign is that of the sum over the models; :math:`\tau` is the mean of the entries that have that
    sign, without those that are 0. Where the sum is 0, so is :math:`\tau`.

    The magnitudes of a whole model are sorted at once, which takes a copy of one task vector.

    Args:
      base: what all models were trained from: a tree of floating point arrays.
      models: K trees like it.
      scale: factor of what is merged.
      density: the share of each task vector that is kept, in (0, 1], over all of its entries; of
        equal ones at the limit all.

    Returns:
      A tree like `base`, in its dtypes.

    Raises:
      TypeError: a leaf is not floating point.
      ValueError: there is no model, trees or shapes differ, or `density` is out of its range.

    >>> one, other = jnp.array([4.0, 1.0, -3.0]), jnp.array([2.0, -9.0, 4.0])
    >>> ties(jnp.zeros(3), [one, other], density=1.0)
    Array([ 3., -9.,  4.], dtype=float32)
    """
    if not 0 < density <= 1:
        raise ValueError(f"density must be in (0, 1], got {density}")
    vectors = [_trimmed(task_vector(base, model), density) for model in checked_models(models)]

    def merged(*parts: jax.Array) -> jax.Array:
        stacked = jnp.stack(parts)
        elected = jnp.sign(stacked.sum(0))
        agree = (jnp.sign(stacked) == elected) & (elected != 0)
        mean = jnp.where(agree, stacked, 0).sum(0) / jnp.maximum(agree.sum(0), 1)
        return jnp.asarray(scale, mean.dtype) * mean

    return moved(base, jax.tree.map(merged, *vectors))


def _trimmed(vector: Any, density: float) -> Any:
    leaves = jax.tree.leaves(vector)
    count = math.ceil(density * sum(leaf.size for leaf in leaves))
    if density == 1 or not count:
        return vector
    least = jnp.sort(jnp.concatenate([jnp.abs(leaf).ravel() for leaf in leaves]))[-count]
    return jax.tree.map(lambda leaf: jnp.where(jnp.abs(leaf) >= least, leaf, 0), vector)
