"""Task arithmetic: models merged by the sum of their task vectors."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.merging.task_vectors import checked_models, moved, task_vector


def task_arithmetic(base: Any, models: Sequence[Any], scale: ArrayLike = 1.0) -> Any:
    r"""Merge models by the sum of what each has learned, :math:`w_0 + \sum_k s_k (w_k - w_0)`.

    Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023. With ``1 / K`` for K models it
    is their mean (Wortsman et al. 2022), with one model and 0 to 1 the line from base to it, with
    a negative number what it has learned is taken away.

    Args:
      base: what all models were trained from: a tree of floating point arrays.
      models: K trees like it.
      scale: the factor of all task vectors, or one of each, ``[K]``.

    Returns:
      A tree like `base`, in its dtypes; sums are in float32 or wider.

    Raises:
      TypeError: a leaf is not floating point.
      ValueError: there is no model, trees or shapes differ, or `scale` is of another size.

    >>> task_arithmetic({"w": jnp.array([1.0, 1.0])}, [{"w": jnp.array([3.0, 1.0])}], 0.5)
    {'w': Array([2., 1.], dtype=float32)}
    """
    vectors = [task_vector(base, model) for model in checked_models(models)]
    scales = jnp.asarray(scale)
    if scales.shape not in ((), (len(vectors),)):
        raise ValueError(f"scale must be a number or [{len(vectors)}], got shape {scales.shape}")
    factors = jnp.broadcast_to(scales, len(vectors))

    def total(*parts: jax.Array) -> jax.Array:
        scaled = [s.astype(p.dtype) * p for s, p in zip(factors, parts, strict=True)]
        return functools.reduce(jnp.add, scaled)

    return moved(base, jax.tree.map(total, *vectors))
