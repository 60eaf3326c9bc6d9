"""Sum of absolute values."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.regularizers.leaves import float_leaves


def l1(params: Any) -> jax.Array:
    r"""Sum of absolute values :math:`\sum |w|`, which sets parameters to 0 (Tibshirani 1996).

    Its gradient at 0 is 0. Gradient steps only come near to zeros; `soft_threshold` reaches them.

    Args:
      params: any tree of floating point arrays.

    Returns:
      A scalar, float32 or wider; 0 for an empty tree.

    Raises:
      TypeError: a leaf is not floating point.

    >>> l1({"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array(1.0)})
    Array(4., dtype=float32)
    """
    total = jnp.zeros((), jnp.float32)
    for leaf in float_leaves(params).values():
        # Not `abs`, whose derivative JAX takes to be 1 at 0.
        total = total + jnp.sum(leaf * jnp.sign(leaf))
    return total
