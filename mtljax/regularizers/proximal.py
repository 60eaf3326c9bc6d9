r"""Proximal operators of a penalty p: :math:`\arg\min_v \mathrm{size}\, p(v) + \frac12 |v - w|^2`.

What a gradient of these penalties only comes near to, zeros and low ranks, they reach exactly.
`mtljax.optim.proximal` takes such a step after each update of any Optax optimizer.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def soft_threshold(leaf: jax.Array, size: ArrayLike) -> jax.Array:
    """The proximal operator of `l1`: what is within `size` of 0 becomes 0, the rest comes nearer.

    Args:
      leaf: an array of any shape.
      size: 0 or more.

    Returns:
      An array of the same shape and dtype.

    >>> soft_threshold(jnp.array([3.0, -0.5, -2.0]), 1.0)
    Array([ 2.,  0., -1.], dtype=float32)
    """
    return leaf - jnp.clip(leaf, -size, size).astype(leaf.dtype)  # pyright: ignore[reportOperatorIssue]


def shrink_groups(
    leaf: jax.Array,
    size: ArrayLike,
    axis: int | Sequence[int] = 0,
    *,
    scale_by_size: bool = True,
) -> jax.Array:
    """The proximal operator of `group_lasso`: groups that are shorter than `size` become 0.

    Args:
      leaf: an array that has `axis`.
      size: 0 or more.
      axis: the axis, or axes, that index the groups.
      scale_by_size: as of `group_lasso`.

    Returns:
      An array of the same shape and dtype.

    >>> shrink_groups(jnp.array([[3.0, 4.0], [0.3, 0.4]]), 1.0, scale_by_size=False)
    Array([[2.4, 3.2],
           [0. , 0. ]], dtype=float32)
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    groups = {a % leaf.ndim for a in axes}
    inner = tuple(a for a in range(leaf.ndim) if a not in groups)
    wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    lengths = jnp.sqrt(jnp.sum(jnp.square(wide), axis=inner, keepdims=True))
    members = leaf.size / max(lengths.size, 1)
    limit = size * (members**0.5 if scale_by_size else 1.0)
    kept = jnp.where(lengths > limit, 1 - limit / jnp.where(lengths > 0, lengths, 1), 0)
    return (wide * kept).astype(leaf.dtype)


def shrink_singular_values(leaf: jax.Array, size: ArrayLike) -> jax.Array:
    """The proximal operator of `trace_norm`: singular values below `size` become 0.

    Args:
      leaf: ``[..., M, N]``.
      size: 0 or more.

    Returns:
      An array of the same shape and dtype.
    """
    wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    left, values, right = jnp.linalg.svd(wide, full_matrices=False)
    return ((left * jax.nn.relu(values - size)[..., None, :]) @ right).astype(leaf.dtype)
