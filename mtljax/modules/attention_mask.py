"""Which positions of packed rows attend to which."""

import jax
import jax.numpy as jnp


def attention_mask(
    segments: jax.Array, *, causal: bool, source: jax.Array | None = None
) -> jax.Array:
    """Which positions see which: ``[R, S]`` segments to ``[R, 1, S, S]`` bool.

    A position sees the positions of its own segment, in ``causal`` mode only those not after it,
    and those of ``source`` ``[R, S]`` bool wherever they are (a prefix language model; Raffel et
    al. 2020, figure 4).
    Padding (segment 0) sees padding, so that no row of the softmax is empty; what comes out there
    is finite and never counted.
    """
    same = segments[:, :, None] == segments[:, None, :]
    if causal:
        size = segments.shape[1]
        seen = jnp.arange(size)[:, None] >= jnp.arange(size)[None, :]
        same = same & (seen if source is None else seen | source[:, None, :])
    return same[:, None]


def window_mask(size: int, window: int) -> jax.Array:
    """Which columns are at most ``window`` away from which: bool ``[1, 1, size, size]``.

    Texts lie in one piece, so that distances between columns are those within a text.
    """
    columns = jnp.arange(size)
    return (jnp.abs(columns[:, None] - columns[None, :]) <= window)[None, None]
