"""Softmax over the tasks that are present, and losses on the log scale.

Losses and weights may differ by more than a float can hold; their logarithms do not.
"""

import math

import jax
import jax.numpy as jnp


def log_softmax(logits: jax.Array, present: jax.Array) -> jax.Array:
    """Returns log shares ``[T]`` of the tasks present; entries of the others are undefined.

    Logits may be infinite: they count as the largest numbers.
    """
    limit = jnp.finfo(logits.dtype).max / 4
    logits = jnp.clip(logits, -limit, limit)
    largest = jnp.max(jnp.where(present, logits, -limit))
    shifted = jnp.where(present, logits - largest, 0)
    # 1 or more if any task is present, since the largest logit adds 1.
    total = jnp.sum(jnp.where(present, jnp.exp(shifted), 0))
    return shifted - jnp.log(jnp.maximum(total, 1))


def softmax(logits: jax.Array, present: jax.Array) -> jax.Array:
    """Returns shares ``[T]`` of the tasks present, which sum to 1; 0 for the others."""
    return jnp.where(present, jnp.exp(log_softmax(logits, present)), 0)


def log_losses(losses: jax.Array) -> jax.Array:
    """Returns log L ``[T]``; a loss of 0 or less counts as the smallest positive normal number."""
    return jnp.log(jnp.maximum(losses, jnp.finfo(losses.dtype).tiny))


def bounded_exp(logs: jax.Array) -> jax.Array:
    """Returns exp within the positive normal numbers, so that neither 0 nor infinity results."""
    limit = -0.99 * math.log(jnp.finfo(logs.dtype).tiny)
    return jnp.exp(jnp.clip(logs, -limit, limit))
