"""The leaves of a parameter tree, with readable paths."""

from typing import Any

import jax
import jax.numpy as jnp


def path_leaves(params: Any) -> dict[str, Any]:
    """Returns the leaves under their paths, e.g. ``{'encoder/lstm/kernel': ...}``."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


def float_leaves(params: Any) -> dict[str, jax.Array]:
    """Returns the leaves in float32 or wider; TypeError naming a leaf that is not floating."""
    leaves = {}
    for path, leaf in path_leaves(params).items():
        array = jnp.asarray(leaf)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"params: leaf {path!r} must be floating point, got {array.dtype}")
        leaves[path] = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    return leaves
