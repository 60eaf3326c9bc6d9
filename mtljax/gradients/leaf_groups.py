"""Groups of the leaves of a tree, by labels or by a boolean mask."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from mtljax.gradients.row_gradients import is_rows

Labels = Callable[[str], Hashable] | Any
"""A tree of labels, a prefix of one, or a function from the path of a leaf to its label."""


def leaf_groups(labels: Labels, tree: Any) -> dict[Hashable, list[int]]:
    """Returns the indices of the leaves of each label.

    Args:
      labels: a tree of labels like `tree`, a prefix of one, or a function from the path of a leaf,
        such as ``"encoder/layer_0/kernel"``, to its label. Labels are strings, or integers.
      tree: a tree whose leaves are counted as `jax.tree.leaves` does, a `RowGradients` as one.

    Returns:
      A dictionary by label of ascending indices, in the order of `jax.tree.leaves`.

    Raises:
      ValueError: labels that do not fit the tree.

    >>> leaf_groups(lambda path: path.split("/")[0], {"a": {"x": 1, "y": 2}, "b": 3})
    {'a': [0, 1], 'b': [2]}
    """
    groups: dict[Hashable, list[int]] = {}
    for index, label in enumerate(_leaf_labels(labels, tree)):
        groups.setdefault(label, []).append(index)
    return groups


def selected(where: Labels, tree: Any) -> list[Any]:
    """Returns the leaves that a mask selects.

    Args:
      where: a tree of booleans like `tree`, a prefix of one, or a function from the path of a leaf
        to a boolean.
      tree: any tree; a `RowGradients` in it is one leaf.

    Returns:
      The selected leaves, in the order of `jax.tree.leaves`.

    Raises:
      TypeError: a label that is not a boolean.
      ValueError: a mask that does not fit the tree, or selects nothing.

    >>> selected({"a": True, "b": False}, {"a": {"x": 1, "y": 2}, "b": 3})
    [1, 2]
    """
    mask = _leaf_labels(where, tree)
    for included in mask:
        if not isinstance(included, bool | np.bool_):
            raise TypeError(f"where must hold True and False for whole leaves, got {included!r}")
    pairs = zip(jax.tree.leaves(tree, is_leaf=is_rows), mask, strict=True)
    leaves = [leaf for leaf, included in pairs if included]
    if not leaves:
        raise ValueError("where selects no leaf")
    return leaves


def _leaf_labels(labels: Labels, tree: Any) -> list[Any]:
    """The label of each leaf."""
    paths, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_rows)
    if callable(labels):
        return [labels(jax.tree_util.keystr(p, simple=True, separator="/")) for p, _ in paths]
    # Integers in place of the leaves, since the arrays of a `RowGradients` are not leaves here.
    return jax.tree.leaves(jax.tree.broadcast(labels, structure.unflatten(range(len(paths)))))
