"""Parameters that a step leaves as they are, and neither differentiates nor keeps anything for."""

from collections.abc import Callable
from typing import Any

import jax

Mask = Any
"""A tree of bools like the parameters or a prefix of their tree, or a function from them to one."""


def partition(params: Any, frozen: Mask) -> tuple[Any, Any]:
    """Divides parameters into those that are trained and those that are frozen.

    Args:
      params: any tree of arrays.
      frozen: true for what stays as it is: a tree of bools like `params` or a prefix of its tree,
        as the masks of Optax, or a function from `params` to one.

    Returns:
      The trained and the frozen parameters: two trees like `params` with None in the other's
      places.

    Raises:
      ValueError: `frozen` is no prefix of the tree of the parameters.
      TypeError: an entry of it is no bool.

    >>> partition({"encoder": {"w": 1.0}, "head": 3.0}, {"encoder": True, "head": False})
    ({'encoder': {'w': None}, 'head': 3.0}, {'encoder': {'w': 1.0}, 'head': None})
    """
    mask = frozen(params) if callable(frozen) else frozen

    def chosen(wanted: bool) -> Any:
        def of(is_frozen: Any, part: Any) -> Any:
            if not isinstance(is_frozen, bool):
                raise TypeError(f"frozen: entries must be bool, got {type(is_frozen).__name__}")
            return part if is_frozen == wanted else jax.tree.map(lambda _: None, part)

        return jax.tree.map(of, mask, params)

    return chosen(False), chosen(True)


def merge(trained: Any, frozen: Any) -> Any:
    """The parameters of which `partition` made two trees; where both have a leaf, the first's."""
    return jax.tree.map(
        lambda one, other: other if one is None else one,
        trained,
        frozen,
        is_leaf=lambda node: node is None,
    )


def bind(function: Callable[..., Any], frozen: Any) -> Callable[..., Any]:
    """A function of parameters, its first argument, as one of the trained ones alone.

    Where nothing is frozen, it is the function itself.
    """
    if not jax.tree.leaves(frozen):
        return function

    def of_trained(trained: Any, *args: Any, **keywords: Any) -> Any:
        return function(merge(trained, frozen), *args, **keywords)

    return of_trained
