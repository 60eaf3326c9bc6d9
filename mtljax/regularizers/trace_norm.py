"""Sum of singular values."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.regularizers.leaves import float_leaves


def trace_norm(params: Any) -> jax.Array:
    r"""Sum of the singular values of matrices, which makes them of low rank.

    Of the stacked weights ``[T, D]`` of T tasks: the tasks share a subspace of few dimensions
    (Argyriou, Evgeniou and Pontil, "Convex Multi-Task Feature Learning", Machine Learning 2008).
    For a proximal step see `shrink_singular_values`.

    Args:
      params: any tree of floating point arrays ``[..., M, N]``.

    Returns:
      A scalar, float32 or wider, summed over leading axes; 0 for an empty tree.

    Raises:
      TypeError: a leaf is not floating point.
      ValueError: a leaf has fewer than two axes.

    >>> trace_norm(jnp.array([[3.0, 0.0], [0.0, 4.0]]))
    Array(7., dtype=float32)
    """
    total = jnp.zeros((), jnp.float32)
    for path, leaf in float_leaves(params).items():
        if leaf.ndim < 2:
            raise ValueError(f"leaf {path!r} of shape {leaf.shape} is no matrix")
        total = total + jnp.sum(jnp.linalg.svd(leaf, full_matrices=False, compute_uv=False))
    return total
