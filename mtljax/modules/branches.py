"""Keys and values of texts that branch: the beginnings of a beam search.

The beginnings of one prompt keep what they read side by side. When one goes on from another,
nothing is copied: it sees the other's columns through a mask.
"""

import jax
import jax.numpy as jnp

from mtljax.modules.keys_values import KeysValues


def branched(past: KeysValues, count: int) -> KeysValues:
    """Room for `count` branches of every row.

    Args:
      past: ``[R, heads, size, C]``, of the prompts.
      count: branches of a row.

    Returns:
      ``[R, heads, size, count, C]``.
    """
    shape = (*past.keys.shape[:3], count, past.keys.shape[-1])
    return KeysValues(*(jnp.broadcast_to(x[:, :, :, None], shape) for x in past))


def own_lines(rows: int, count: int, columns: int) -> jax.Array:
    """Whose columns each branch sees at first: its own, ``[rows, count, columns]`` int32."""
    own = jnp.arange(count, dtype=jnp.int32)
    return jnp.broadcast_to(own[:, None], (rows, count, columns))


def seen_branches(lines: jax.Array, mask: jax.Array) -> jax.Array:
    """The columns of all branches that each of them sees.

    Args:
      lines: int32 ``[R, K, C]``, the branch whose column it sees.
      mask: bool ``[R K, C]``, columns that are there.

    Returns:
      Bool ``[R, K, K, C]``: branch, branch of the columns, columns.
    """
    rows, count, columns = lines.shape
    there = mask.reshape(rows, count, 1, columns)
    return there & (lines[:, :, None] == jnp.arange(count)[:, None])


def write_branches(past: KeysValues, new: KeysValues, column: jax.Array | int) -> KeysValues:
    """Put a position of each branch, ``[R K, heads, size, 1]``, into its own column."""

    def write(old: jax.Array, x: jax.Array) -> jax.Array:
        apart = x.reshape(old.shape[0], -1, *x.shape[1:])
        return jax.lax.dynamic_update_slice_in_dim(old, jnp.moveaxis(apart, 1, 3), column, axis=4)

    return KeysValues(*(write(*pair) for pair in zip(past, new, strict=True)))


def attend_branches(query: jax.Array, past: KeysValues, mask: jax.Array) -> jax.Array:
    """Scaled dot-product attention of one position a branch to the columns of all.

    Args:
      query: ``[R K, 1, heads, size]``, rotated.
      past: ``[R, heads, size, K, C]``.
      mask: from `seen_branches`.

    Returns:
      ``[R K, 1, heads, size]``; scores and softmax are float32 or wider.
    """
    rows, heads, size, count, columns = past.keys.shape
    keys, values = (x.reshape(rows, heads, size, count * columns) for x in past)
    wide = jnp.promote_types(query.dtype, jnp.float32)
    apart = query.reshape(rows, count, heads, size)
    scores = jnp.einsum("rqhd,rhdc->rhqc", apart, keys, preferred_element_type=wide)
    seen = mask.reshape(rows, 1, count, count * columns)
    scores = jnp.where(seen, scores * size**-0.5, jnp.finfo(wide).min)
    shares = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
    return jnp.einsum("rhqc,rhdc->rqhd", shares, values).reshape(query.shape)
