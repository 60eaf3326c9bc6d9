"""Disentangled positions (He et al. 2021): attention between contents and distances."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mtljax.modules.architecture import Architecture
from mtljax.modules.named_axes import named
from mtljax.modules.norms import make_norm


class DistanceTable(nn.Module):
    """A vector for each distance, or bucket of them, normalized.

    Attributes:
      architecture: its buckets and distances.
      features: width of the layers.
      dtype: of the computation.
    """

    architecture: Architecture
    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self) -> jax.Array:
        """The table, ``[rows, D]``."""
        rows = 2 * (self.architecture.position_buckets or self.architecture.max_positions)
        init = named(nn.initializers.normal(0.02), ("table_rows", "features"))
        table = self.param("table", init, (rows, self.features))
        return make_norm(self.architecture, self.dtype, "norm")(table)


def distance_rows(size: int, buckets: int, most: int) -> np.ndarray:
    """Which row of the table of distances each query reads for each key.

    Distances up to half of the buckets have one each, larger ones share them by their logarithm
    (He et al. 2023).

    Args:
      size: positions of a row.
      buckets: of the distances to one side; half of the rows of the table. 0 for as many as `most`,
        one for each distance.
      most: distances that are told apart.

    Returns:
      int32 ``[size, size]``.

    >>> distance_rows(4, 0, 2).tolist()
    [[2, 1, 0, 0], [3, 2, 1, 0], [3, 3, 2, 1], [3, 3, 3, 2]]
    """
    distance = np.arange(size)[:, None] - np.arange(size)[None, :]
    side = buckets or most
    if buckets:
        near = buckets // 2
        far = np.maximum(np.abs(distance), near).astype(np.float32) / np.float32(near)
        scale = np.log(np.float32((most - 1) / near))
        shared = np.ceil(np.log(far) / scale * np.float32(near - 1)) + near
        distance = np.where(np.abs(distance) <= near, distance, shared * np.sign(distance))
    return np.clip(distance + side, 0, 2 * side - 1).astype(np.int32)


def distance_scores(
    query: jax.Array,
    key: jax.Array,
    far_query: jax.Array,
    far_key: jax.Array,
    architecture: Architecture,
) -> jax.Array:
    """What is added to the inner products of queries and keys.

    Args:
      query: ``[R, S, heads, size]``.
      key: ``[R, S, heads, size]``.
      far_query: ``[rows, heads, size]``, queries of the rows of the table of distances.
      far_key: ``[rows, heads, size]``, keys of these.
      architecture: its buckets and distances.

    Returns:
      ``[R, heads, S, S]``, float32 or wider: each query with the key of the distance, and each key
      with the query of the distance.
    """
    a = architecture
    rows = distance_rows(query.shape[1], a.position_buckets, a.max_positions)
    index = jnp.asarray(rows)[None, None]
    wide = jnp.promote_types(query.dtype, jnp.float32)
    to_far = jnp.einsum("rshd,thd->rhst", query, far_key, preferred_element_type=wide)
    from_far = jnp.einsum("rshd,thd->rhst", key, far_query, preferred_element_type=wide)
    to_far = jnp.take_along_axis(to_far, index, axis=-1)
    from_far = jnp.take_along_axis(from_far, index.swapaxes(-1, -2), axis=-1)
    return to_far + from_far.swapaxes(-1, -2)
