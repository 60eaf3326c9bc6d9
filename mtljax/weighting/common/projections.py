"""What methods share that change one gradient after the other, in a random order."""

import jax
import jax.numpy as jnp


def random_orders(key: jax.Array, num_tasks: int) -> jax.Array:
    """Returns ``[T, T]`` integers: each row a random order of the tasks, of its own."""
    return jnp.argsort(jax.random.bits(key, (num_tasks, num_tasks), jnp.uint32), axis=1)


def column_weights(coefficients: jax.Array, norms: jax.Array) -> jax.Array:
    """Sums changed unit gradients, each brought back to the norm that it had.

    Args:
      coefficients: ``[T, T]``; row i holds the i-th changed unit gradient in terms of the unit
        gradients.
      norms: ``[T]``.

    Returns:
      Weights of the gradients ``[T]``: ``sum_i n_i coefficients_ij / n_j``.
    """
    limits = jnp.finfo(norms.dtype)
    safe = jnp.where(norms > 0, norms, 1)
    ratios = jnp.minimum(norms[:, None] / safe, limits.max * limits.eps)
    ratios = jnp.where(jnp.eye(norms.size, dtype=bool), 1, ratios)
    weights = jnp.sum(coefficients * ratios, axis=0)
    return jnp.clip(weights, -limits.max, limits.max)
