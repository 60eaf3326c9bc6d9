"""Sum of the norms of groups of parameters."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.regularizers.leaves import float_leaves


def group_lasso(
    params: Any, axis: int | Sequence[int] = 0, *, scale_by_size: bool = True
) -> jax.Array:
    r"""Group lasso :math:`\sum_g \sqrt{p_g}\, \lVert w_g \rVert_2`, which sets whole groups to 0.

    Yuan and Lin, "Model selection and estimation in regression with grouped variables", JRSS B
    2006. In each leaf the index along `axis` is the group: ``axis=0`` on an embedding
    ``[V, D]`` makes each word a group. On the stacked weights ``[T, D]`` of T linear tasks,
    ``axis=1`` makes each feature a group over the tasks: the multi-task lasso.

    Args:
      params: any tree of floating point arrays that all have `axis`.
      axis: the axis, or axes, that index the groups.
      scale_by_size: weigh a group by the square root of its size :math:`p_g`.

    Returns:
      A scalar, float32 or wider; 0 for an empty tree. The gradient of a group at 0 is 0.

    Raises:
      TypeError: a leaf is not floating point.
      ValueError: a leaf has no such axis.

    >>> group_lasso(jnp.array([[3.0, 4.0], [0.0, 0.0]]), scale_by_size=False)
    Array(5., dtype=float32)
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    total = jnp.zeros((), jnp.float32)
    for path, leaf in float_leaves(params).items():
        if not all(-leaf.ndim <= a < leaf.ndim for a in axes):
            raise ValueError(f"axis {axis} does not exist in leaf {path!r} of shape {leaf.shape}")
        groups = {a % leaf.ndim for a in axes}
        inner = tuple(a for a in range(leaf.ndim) if a not in groups)
        squares = jnp.sum(jnp.square(leaf), axis=inner)
        # Twice a `where`: the derivative of the square root at 0 is infinite, and multiplying it
        # by 0 would give NaN.
        norms = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
        size = leaf.size / max(squares.size, 1)
        total = total + jnp.sum(norms) * (size**0.5 if scale_by_size else 1.0)
    return total
