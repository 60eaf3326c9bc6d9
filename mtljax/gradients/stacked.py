"""Trees of per-task gradients."""

from typing import Any

import jax
import jax.numpy as jnp


def task_count(task_grads: Any) -> int:
    """Returns T, the length of the leading axis that all leaves share.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``.

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, a scalar leaf, no tasks, or leaves that differ in T.

    >>> task_count({"kernel": jnp.ones((3, 2, 2)), "bias": jnp.ones((3, 2))})
    3
    """
    count = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(task_grads):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            dtype = jnp.result_type(leaf)
            raise TypeError(f"task_grads: leaf {name!r} must be floating point, got {dtype}")
        shape = jnp.shape(leaf)
        if not shape or not shape[0]:
            raise ValueError(f"task_grads: leaf {name!r} has no task axis, its shape is {shape}")
        if count is not None and shape[0] != count:
            raise ValueError(f"task_grads: leaf {name!r} has {shape[0]} tasks, others {count}")
        count = shape[0]
    if count is None:
        raise ValueError("task_grads has no leaves")
    return count
