"""Pooling: from vectors of positions to one vector for each segment of a packed row."""

import jax
import jax.numpy as jnp


def segment_members(segments: jax.Array, count: int) -> jax.Array:
    """Which positions belong to which segment: ``[R, S]`` to ``[R, count, S]`` bool."""
    return segments[:, None, :] == jnp.arange(1, count + 1)[None, :, None]


def mean_pool(hidden: jax.Array, members: jax.Array) -> jax.Array:
    """Mean over the positions of a segment; zero for a segment that is not there.

    Args:
      hidden: ``[R, S, D]``.
      members: ``[R, N, S]`` bool.

    Returns:
      ``[R, N, D]``, float32 or wider.
    """
    return _totals(hidden, members) / jnp.maximum(members.sum(-1, keepdims=True), 1)


def root_pool(hidden: jax.Array, members: jax.Array) -> jax.Array:
    """Sum over a segment divided by the root of its length: ``[R, N, D]``.

    The scale of a normalized bag of words: a long text weighs more than under the mean.
    """
    lengths = jnp.maximum(members.sum(-1, keepdims=True), 1)
    totals = _totals(hidden, members)
    return totals * jax.lax.rsqrt(lengths.astype(totals.dtype))


def _totals(hidden: jax.Array, members: jax.Array) -> jax.Array:
    # bfloat16 cannot even count to 300: sums are float32.
    return jnp.einsum(
        "rns,rsd->rnd",
        members.astype(hidden.dtype),
        hidden,
        preferred_element_type=jnp.promote_types(hidden.dtype, jnp.float32),
    )


def max_pool(hidden: jax.Array, members: jax.Array) -> jax.Array:
    """Largest value of each feature over a segment, zero where there is none: ``[R, N, D]``.

    A scatter by segment: a masked copy of the positions for each segment would move ``N`` times the
    bytes. Where several positions have the largest value they share its gradient.
    """
    rows, count, _ = members.shape
    # Positions of no segment go to one more bucket, which is dropped.
    segment = jnp.where(members.any(1), jnp.argmax(members, axis=1), count)
    buckets = segment + (count + 1) * jnp.arange(rows)[:, None]
    flat = hidden.reshape(-1, hidden.shape[-1])
    largest = jax.ops.segment_max(flat, buckets.reshape(-1), rows * (count + 1))
    largest = largest.reshape(rows, count + 1, -1)[:, :count]
    return jnp.where(members.any(-1, keepdims=True), largest, 0)


def last_pool(hidden: jax.Array, members: jax.Array) -> jax.Array:
    """The state at a segment's last position: ``[R, N, D]``."""
    size = members.shape[-1]
    last = size - 1 - jnp.argmax(members[..., ::-1], axis=-1)
    picked = jnp.take_along_axis(hidden, last[..., None], axis=1)
    return jnp.where(members.any(-1, keepdims=True), picked, 0)


def first_pool(hidden: jax.Array, members: jax.Array) -> jax.Array:
    """The state at a segment's first position: ``[R, N, D]``."""
    picked = jnp.take_along_axis(hidden, jnp.argmax(members, axis=-1)[..., None], axis=1)
    return jnp.where(members.any(-1, keepdims=True), picked, 0)


def attention_pool(hidden: jax.Array, scores: jax.Array, members: jax.Array) -> jax.Array:
    """Mean weighted by the softmax of ``scores`` ``[R, S]`` within each segment: ``[R, N, D]``."""
    masked = jnp.where(members, scores[:, None, :], jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(masked, axis=-1) * members
    return jnp.einsum("rns,rsd->rnd", weights.astype(hidden.dtype), hidden)


def following(x: jax.Array, segments: jax.Array, distance: int) -> jax.Array:
    """The vectors ``distance`` positions later in the same segment, zero past its end.

    Args:
      x: ``[R, S, D]``.
      segments: ``[R, S]``.
      distance: positions ahead, 1 or more.

    Returns:
      ``[R, S, D]``.
    """
    moved = jnp.pad(x[:, distance:], ((0, 0), (0, distance), (0, 0)))
    owner = jnp.pad(segments[:, distance:], ((0, 0), (0, distance)))
    return jnp.where((owner == segments)[..., None], moved, 0)
