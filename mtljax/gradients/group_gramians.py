"""A Gramian for each part of the parameters."""

from collections.abc import Hashable
from typing import Any

import jax

from mtljax.gradients.gramian import gramian
from mtljax.gradients.labels import Labels, leaf_groups
from mtljax.gradients.row_gradients import is_rows


def group_gramians(task_grads: Any, labels: Labels) -> dict[Hashable, jax.Array]:
    """The Gramian of each group of leaves; their sum is the Gramian of all.

    For weights of a group's own (`combine` takes them with the same labels), and to see in which
    layers tasks conflict.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      labels: a tree of labels like the parameters, a prefix of one, or a function from the path of
        a leaf, such as ``"encoder/layer_0/kernel"``, to its label. Labels are strings, or integers.

    Returns:
      By label, ``[T, T]`` float32 (float64 if a leaf of the group is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: as `gramian`; labels that do not fit the tree.

    >>> import jax.numpy as jnp
    >>> rows = {"low": jnp.array([[1.0, 0.0], [1.0, 1.0]]), "high": jnp.array([2.0, -1.0])}
    >>> group_gramians(rows, lambda path: path)["high"]
    Array([[ 4., -2.],
           [-2.,  1.]], dtype=float32)
    """
    leaves = jax.tree.leaves(task_grads, is_leaf=is_rows)
    groups = leaf_groups(labels, task_grads)
    return {label: gramian([leaves[i] for i in places]) for label, places in groups.items()}
