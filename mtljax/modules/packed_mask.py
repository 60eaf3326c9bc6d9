"""What positions of packed rows see, as data from which the mask of some of them is made."""

import dataclasses

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PackedMask:
    """Which positions of packed rows see which, by what is known of each of them.

    `seen_by` says it of some positions; of all of them it is ``[R, 1, S, C]``, which long rows
    never hold.

    Attributes:
      queries: int ``[R, S]``, segments of the positions that look.
      keys: int ``[R, C]``, segments of the columns that are looked at: those of their own segment
        are seen.
      source: bool ``[R, C]``, columns that positions before them see as well; None for none.
      causal_rows: bool ``[R]``, in which rows `causal` holds; None for all.
      local: bool scalar, whether `window` holds; None for False.
      causal: whether a position sees no column after it.
      window: columns to either side that are seen.
    """

    queries: jax.Array
    keys: jax.Array
    source: jax.Array | None = None
    causal_rows: jax.Array | None = None
    local: jax.Array | None = None
    causal: bool = dataclasses.field(default=False, metadata={"static": True})
    window: int = dataclasses.field(default=0, metadata={"static": True})


def packed_mask(
    segments: jax.Array,
    *,
    causal: bool | jax.Array,
    source: jax.Array | None = None,
    window: int = 0,
) -> PackedMask:
    """What positions of ``[R, S]`` segments see, as `attention_mask.attention_mask` says it."""
    rows = None if isinstance(causal, bool) else causal
    return PackedMask(segments, segments, source, rows, None, causal is not False, window)


def seen_by(
    mask: PackedMask, queries: jax.Array | None = None, first: jax.Array | int = 0
) -> jax.Array:
    """Which columns some positions see: bool ``[R, 1, Q, C]``.

    Args:
      mask: of rows.
      queries: int ``[R, Q]``, segments of positions in a line; None for all.
      first: the column of the first of them.
    """
    queries = mask.queries if queries is None else queries
    same = queries[:, :, None] == mask.keys[:, None, :]
    places = (first + jnp.arange(queries.shape[1]))[:, None]
    columns = jnp.arange(mask.keys.shape[1])[None, :]
    if mask.causal:
        seen = places >= columns
        seen = seen if mask.source is None else seen | mask.source[:, None, :]
        seen = seen if mask.causal_rows is None else seen | ~mask.causal_rows[:, None, None]
        same = same & seen
    if mask.local is not None:
        same = same & ((jnp.abs(places - columns) <= mask.window) | ~mask.local)
    return same[:, None]
