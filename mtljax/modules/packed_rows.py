"""Rows of packed texts: the sharding of their activations, and which positions are a source."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from mtljax.special_tokens import END


def by_rows(x: jax.Array, rows: NamedSharding | None) -> jax.Array:
    """Keeps each row on its device, so that XLA gathers sharded parameters, not rows.

    Args:
      x: activations ``[R, ...]``.
      rows: the sharding of the axis R; None to leave it to XLA.

    Returns:
      The same activations.
    """
    return x if rows is None else jax.lax.with_sharding_constraint(x, rows)


def source_part(
    tokens: jax.Array, segments: jax.Array, positions: jax.Array, end: int = END
) -> jax.Array:
    """Which positions belong to a text that is to be answered, rather than to its answer.

    Args:
      tokens: ``[R, S]`` ids, ``<s> source </s> answer`` in each text.
      segments: ``[R, S]``, which text a position belongs to, 0 for padding.
      positions: ``[R, S]``, positions within the text.
      end: the id of the mark ``</s>``.

    Returns:
      Bool ``[R, S]``: those before the mark ``</s>`` of their text; none of the padding.
    """
    # A text belongs to its source as long as no mark has come since its start.
    return (_marks_so_far(tokens, positions, end) == 0) & (segments > 0)


def second_part(
    tokens: jax.Array, segments: jax.Array, positions: jax.Array, end: int
) -> jax.Array:
    """Which positions belong to the second text of a pair: bool ``[R, S]``.

    Those after the first mark of their text; none of the padding. The arguments are those of
    `source_part`.
    """
    before = _marks_so_far(tokens, positions, end) - (tokens == end)
    return (before > 0) & (segments > 0)


def _marks_so_far(tokens: jax.Array, positions: jax.Array, end: int) -> jax.Array:
    is_mark = tokens == end
    marks = jnp.cumsum(is_mark, axis=1)
    starts = jnp.arange(tokens.shape[1]) - positions
    return marks - jnp.take_along_axis(marks - is_mark, starts, axis=1)
