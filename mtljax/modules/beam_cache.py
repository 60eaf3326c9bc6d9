"""Keys and values of texts that branch: the beginnings of a beam search.

The beginnings of one prompt keep what they read side by side. When one goes on from another,
nothing is copied: it sees the other's columns through a mask.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.modules.keys_values import KeysValues


class Branches(NamedTuple):
    """What a layer keeps of the positions that K branches of each of R rows have read.

    Column by column, and of each column branch by branch: what the branches read next is one piece,
    and XLA writes it in place.

    Attributes:
      keys: ``[R, heads, size, C K]``, rotated.
      values: ``[R, heads, size, C K]``.
    """

    keys: jax.Array
    values: jax.Array


def branched(past: KeysValues, count: int) -> Branches:
    """As many branches of every row, C columns each."""
    return Branches(*(jnp.repeat(x, count, axis=-1) for x in past))


def own_lines(rows: int, count: int, columns: int) -> jax.Array:
    """Whose columns each branch sees at first: its own, ``[rows, count, columns]`` int32."""
    own = jnp.arange(count, dtype=jnp.int32)
    return jnp.broadcast_to(own[:, None], (rows, count, columns))


def seen_branches(lines: jax.Array, mask: jax.Array) -> jax.Array:
    """What each branch sees of the columns of all.

    Args:
      lines: int32 ``[R, K, C]``, the branch whose column it sees.
      mask: bool ``[R K, C]``, columns that are there.

    Returns:
      Bool ``[R, K, C K]``.
    """
    rows, count, columns = lines.shape
    there = mask.reshape(rows, count, columns, 1)
    seen = there & (lines[..., None] == jnp.arange(count))
    return seen.reshape(rows, count, -1)


def write_branches(past: Branches, new: KeysValues, column: jax.Array | int) -> Branches:
    """Put a position of each branch, ``[R K, heads, size, 1]``, into its own column."""

    def write(old: jax.Array, x: jax.Array) -> jax.Array:
        rows = old.shape[0]
        count = x.shape[0] // rows
        apart = jnp.moveaxis(x.reshape(rows, count, *x.shape[1:-1]), 1, 3)
        return jax.lax.dynamic_update_slice_in_dim(old, apart, column * count, axis=3)

    return Branches(write(past.keys, new.keys), write(past.values, new.values))


def attend_branches(query: jax.Array, past: Branches, mask: jax.Array) -> jax.Array:
    """Scaled dot-product attention of one position a branch to the columns of all.

    Args:
      query: ``[R K, 1, heads, size]``, rotated.
      past: of C columns.
      mask: from `seen_branches`.

    Returns:
      ``[R K, 1, heads, size]``; scores and softmax are float32 or wider.
    """
    rows, count, _ = mask.shape
    apart = query.reshape(rows, count, *query.shape[2:])
    wide = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.einsum("rqhd,rhdc->rhqc", apart, past.keys, preferred_element_type=wide)
    scores = jnp.where(mask[:, None], scores * query.shape[-1] ** -0.5, jnp.finfo(wide).min)
    shares = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
    return jnp.einsum("rhqc,rhdc->rqhd", shares, past.values).reshape(query.shape)
