"""A sum of gradients to which one is added after the other."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.row_gradients import RowGradients


def empty_sum(params: Any) -> Any:
    """Zeros in the shapes of parameters, float32 or wider.

    Sums of bfloat16 gradients would lose what is smaller than 1/256 of them.
    """

    def wide(leaf: Any) -> jax.Array:
        return jnp.zeros(jnp.shape(leaf), jnp.promote_types(jnp.result_type(leaf), jnp.float32))

    return jax.tree.map(wide, params)


def add_to_sum(total: Any, gradient: Any, weight: jax.Array | None = None) -> Any:
    """The sum with one more gradient.

    Args:
      total: of `empty_sum`.
      gradient: a tree like it, without an axis of tasks; tables may be the rows that were read, as
        `mtljax.gradients.tables.encoder_vjp` has them.
      weight: a scalar by which the gradient is multiplied; 0 leaves it out, even where it is not
        finite. None for 1.
    """

    def add(sum_: jax.Array, leaf: Any) -> jax.Array:
        entries = leaf.values if isinstance(leaf, RowGradients) else leaf
        entries = entries.astype(sum_.dtype)
        if weight is not None:
            entries = jnp.where(weight != 0, weight.astype(sum_.dtype) * entries, 0)
        if isinstance(leaf, RowGradients):
            return sum_.at[leaf.indices].add(entries, mode="drop")
        return sum_ + entries

    return jax.tree.map(add, total, gradient)


def in_dtypes_of(params: Any, total: Any) -> Any:
    """A sum in the dtypes of the parameters."""
    return jax.tree.map(lambda leaf, like: leaf.astype(jnp.result_type(like)), total, params)
