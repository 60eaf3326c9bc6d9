"""Squared Euclidean norm."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.regularizers.leaves import float_leaves


def l2(params: Any) -> jax.Array:
    r"""Half the squared norm :math:`\frac12 \sum w^2`, whose gradient is w.

    Args:
      params: any tree of floating point arrays.

    Returns:
      A scalar, float32 or wider; 0 for an empty tree.

    Raises:
      TypeError: a leaf is not floating point.

    >>> l2({"kernel": jnp.array([1.0, 2.0]), "bias": jnp.array(1.0)})
    Array(3., dtype=float32)
    """
    total = jnp.zeros((), jnp.float32)
    for leaf in float_leaves(params).values():
        total = total + jnp.sum(jnp.square(leaf)) / 2
    return total
