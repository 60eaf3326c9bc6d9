"""Differences of models from what they started from."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def task_vector(base: Any, model: Any) -> Any:
    """What training added to the parameters: ``model - base``, float32 or wider.

    Raises:
      ValueError: the trees, or the shapes of their leaves, differ.
      TypeError: a leaf is not floating point.
    """
    here, there = jax.tree.structure(base), jax.tree.structure(model)
    if here != there:
        raise ValueError(f"models must have the tree of base, {here}, got {there}")
    return jax.tree_util.tree_map_with_path(_difference, base, model)


def moved(base: Any, vector: Any) -> Any:
    """The parameters ``base + vector``, in the dtypes of `base`."""
    return jax.tree.map(lambda b, v: (b + v).astype(jnp.asarray(b).dtype), base, vector)


def checked_models(models: Sequence[Any]) -> Sequence[Any]:
    """Some models, at least one.

    Raises:
      ValueError: there is none.
    """
    if not len(models):
        raise ValueError("models: need at least one")
    return models


def _difference(path: Any, base: Any, model: Any) -> jax.Array:
    base, model = jnp.asarray(base), jnp.asarray(model)
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    if base.shape != model.shape:
        raise ValueError(f"{name}: shape {model.shape}, {base.shape} in base")
    if not (jnp.issubdtype(base.dtype, jnp.floating) and jnp.issubdtype(model.dtype, jnp.floating)):
        raise TypeError(f"{name}: must be floating point, got {base.dtype} and {model.dtype}")
    dtype = jnp.promote_types(jnp.promote_types(base.dtype, model.dtype), jnp.float32)
    return model.astype(dtype) - base.astype(dtype)
