"""Groups of leaves, by labels or by a mask."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from mtljax.gradients.row_gradients import is_rows

Labels = Callable[[str], Hashable] | Any
"""A tree of labels, a prefix of one, or a function from the path of a leaf to its label."""


def leaf_groups(labels: Labels, tree: Any) -> dict[Hashable, list[int]]:
    """Returns the places of the leaves of each label.

    Args:
      labels: a tree of labels like `tree`, a prefix of one, or a function from the path of a leaf,
        such as ``"encoder/layer_0/kernel"``, to its label. Labels are strings, or integers.
      tree: its leaves are counted as `jax.tree.leaves` does, a `RowGradients` as one.

    Raises:
      ValueError: labels that do not fit the tree.

    >>> leaf_groups(lambda path: path.split("/")[0], {"a": {"x": 1, "y": 2}, "b": 3})
    {'a': [0, 1], 'b': [2]}
    """
    groups: dict[Hashable, list[int]] = {}
    for place, label in enumerate(_of_leaves(labels, tree)):
        groups.setdefault(label, []).append(place)
    return groups


def selected(where: Labels, tree: Any) -> list[Any]:
    """Returns the leaves that a mask selects.

    Args:
      where: a tree of booleans like `tree`, a prefix of one, or a function from the path of a leaf.
      tree: any.

    Raises:
      TypeError: a label that is not a boolean.
      ValueError: a mask that does not fit the tree, or selects nothing.

    >>> selected({"a": True, "b": False}, {"a": {"x": 1, "y": 2}, "b": 3})
    [1, 2]
    """
    found = _of_leaves(where, tree)
    for label in found:
        if not isinstance(label, bool | np.bool_):
            raise TypeError(f"where must hold True and False for whole leaves, got {label!r}")
    pairs = zip(jax.tree.leaves(tree, is_leaf=is_rows), found, strict=True)
    leaves = [leaf for leaf, yes in pairs if yes]
    if not leaves:
        raise ValueError("where selects no leaf")
    return leaves


def _of_leaves(labels: Labels, tree: Any) -> list[Any]:
    paths, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_rows)
    if callable(labels):
        return [labels(jax.tree_util.keystr(p, simple=True, separator="/")) for p, _ in paths]
    return jax.tree.leaves(jax.tree.broadcast(labels, structure.unflatten(range(len(paths)))))
