"""How alike two representations of the same texts are."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def linear_cka(first: ArrayLike, second: ArrayLike) -> jax.Array:
    r"""Centred kernel alignment with linear kernels (Kornblith et al., ICML 2019, section 3).

    .. math:: |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F)

    of centred features. 1 for features that are equal up to a rotation, a scale and a shift, about
    0 for unrelated ones, if there are many more examples than features: with few, chance alone
    brings it near 1.

    Args:
      first: ``[N, D]``, features of N examples, such as an encoder's pooled output.
      second: ``[N, E]``, of the same examples in the same order.

    Returns:
      A scalar in [0, 1]; 0 where features are constant.

    Raises:
      ValueError: another number of examples.
    """
    x, y = (jnp.asarray(features) for features in (first, second))
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
        raise ValueError(f"features must be [N, D] and [N, E], got {x.shape} and {y.shape}")
    x, y = (features - features.mean(0) for features in (x, y))
    # Sums of squares of squares would leave float32 long before features do.
    x, y = (features / jnp.maximum(jnp.max(jnp.abs(features)), 1e-30) for features in (x, y))
    scale = jnp.linalg.norm(x.T @ x) * jnp.linalg.norm(y.T @ y)
    return jnp.where(scale > 0, jnp.sum((y.T @ x) ** 2) / jnp.where(scale > 0, scale, 1), 0)
