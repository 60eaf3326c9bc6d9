"""Penalties on some of the parameters."""

import re
from collections.abc import Callable
from typing import Any

import jax

from mtljax.regularizers.leaves import path_leaves


def on(
    penalty: Callable[..., jax.Array], select: str | Callable[[str, Any], bool]
) -> Callable[..., jax.Array]:
    """Restricts a penalty to the leaves that `select` picks.

    Args:
      penalty: a function of a tree, such as `l2`; further arguments are passed on.
      select: a regular expression searched in the path of a leaf, whose parts are joined by
        ``/`` (``r"^heads/.*kernel$"``), or a predicate ``(path, leaf) -> bool``.

    Returns:
      A function of the whole tree. It raises ValueError, naming the paths there are, if nothing
      is picked: a penalty that silently does nothing is a spelling mistake.

    Raises:
      ValueError: `select` is not a valid regular expression.

    >>> import jax.numpy as jnp
    >>> from mtljax import regularizers
    >>> params = {"kernel": jnp.ones(4), "bias": jnp.ones(2)}
    >>> regularizers.on(regularizers.l2, "kernel")(params)
    Array(2., dtype=float32)
    """
    picked = _matches(select) if isinstance(select, str) else select

    def restricted(params: Any, *args: Any, **kwargs: Any) -> jax.Array:
        leaves = path_leaves(params)
        chosen = {path: leaf for path, leaf in leaves.items() if picked(path, leaf)}
        if not chosen:
            raise ValueError(f"select: {select!r} picks none of the leaves {sorted(leaves)}")
        return penalty(chosen, *args, **kwargs)

    return restricted


def _matches(pattern: str) -> Callable[[str, Any], bool]:
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise ValueError(f"select: {pattern!r} is no regular expression: {error}") from error
    return lambda path, leaf: search(path) is not None
