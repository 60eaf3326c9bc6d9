"""Which positions of packed rows attend to which."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.modules.config import Attention
from mtljax.modules.packed_mask import packed_mask, seen_by


class AttentionByRow(NamedTuple):
    """What positions see of each other, where that differs from row to row.

    Attributes:
      kinds: those that there are, each once.
      of_row: int32 ``[R]``, which of them each row has.
    """

    kinds: tuple[Attention, ...]
    of_row: jax.Array


def is_any(attention: Attention | AttentionByRow, *names: Attention) -> bool | jax.Array:
    """Whether the attention is one of `names`; bool ``[R]`` where some rows' is, others' is not."""
    if not isinstance(attention, AttentionByRow):
        return attention in names
    flags = [kind in names for kind in attention.kinds]
    return flags[0] if len(set(flags)) == 1 else jnp.asarray(flags)[attention.of_row]


def attention_mask(
    segments: jax.Array, *, causal: bool | jax.Array, source: jax.Array | None = None
) -> jax.Array:
    """Which positions see which: ``[R, S]`` segments to ``[R, 1, S, S]`` bool.

    A position sees the positions of its own segment, in ``causal`` mode (of all rows, or of those
    that ``[R]`` bool names) only those not after it, and those of ``source`` ``[R, S]`` bool
    wherever they are (a prefix language model; Raffel et al. 2020, figure 4).
    Padding (segment 0) sees padding, so that no row of the softmax is empty; what comes out there
    is finite and never counted.
    """
    return seen_by(packed_mask(segments, causal=causal, source=source))


def window_mask(size: int, window: int) -> jax.Array:
    """Which columns are at most ``window`` away from which: bool ``[1, 1, size, size]``.

    Texts lie in one piece, so that distances between columns are those within a text.
    """
    columns = jnp.arange(size)
    return (jnp.abs(columns[:, None] - columns[None, :]) <= window)[None, None]
