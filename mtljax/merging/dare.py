"""DARE: task vectors of which most entries are dropped at random."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.merging.task_vectors import moved, task_vector


def dare(key: jax.Array, base: Any, model: Any, *, drop: float = 0.9) -> Any:
    """Drop most of what a model has learned, and rescale the rest; then merge it with others.

    Yu et al., "Language Models are Super Mario: Absorbing Abilities from Homologous Models as a
    Free Lunch", ICML 2024: each entry of the task vector is 0 with probability `drop`, and divided
    by ``1 - drop`` otherwise, which keeps its expectation; few entries of several models meet then.

    Args:
      key: a random key; one of its own for each model.
      base: what the model was trained from: a tree of floating point arrays.
      model: a tree like it.
      drop: probability, in [0, 1).

    Returns:
      A tree like `base`, in its dtypes, for `task_arithmetic` or `ties`.

    Raises:
      TypeError: a leaf is not floating point.
      ValueError: trees or shapes differ, or `drop` is out of its range.

    >>> found = dare(jax.random.key(0), jnp.zeros(99), jnp.full(99, 3.0), drop=0.5)
    >>> sorted({float(entry) for entry in found})
    [0.0, 6.0]
    """
    if not 0 <= drop < 1:
        raise ValueError(f"drop must be in [0, 1), got {drop}")
    leaves, tree = jax.tree.flatten(task_vector(base, model))
    keys = jax.random.split(key, max(len(leaves), 1))

    def kept(key: jax.Array, leaf: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key, 1 - drop, leaf.shape), leaf / (1 - drop), 0)

    thinned = [kept(key, leaf) for key, leaf in zip(keys, leaves, strict=False)]
    return moved(base, jax.tree.unflatten(tree, thinned))
