"""Heads that take the gradient of the weighted loss."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.training.model import Model
from mtljax.training.update.types import Method, reads_gradients


def scaled_heads(
    model: Model, method: Method, weights: jax.Array, mask: jax.Array, heads: dict[str, Any]
) -> dict[str, Any]:
    """Each head's gradient times its task's weight, divided by their mean if they have units."""
    if reads_gradients(method):
        total = jnp.sum(jnp.abs(weights))
        weights = weights * jnp.sum(mask) / jnp.where(total > 0, total, 1)
    return {
        task.name: jax.tree.map(lambda leaf, w=w: leaf * w.astype(leaf.dtype), heads[task.name])
        for w, task in zip(weights, model.tasks, strict=True)
    }
