"""Relative positions in buckets (Raffel et al. 2020): a number for each distance and head."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtljax.modules.architecture import Architecture
from mtljax.modules.named_axes import named


class RelativeBias(nn.Module):
    """What is added to the inner products of queries and keys, the same in all layers.

    Attributes:
      architecture: its buckets, and the distance that the last of them begin with.
      heads: attention heads.
      one_sided: whether all buckets are for keys before their query, as no key comes after it.
    """

    architecture: Architecture
    heads: int
    one_sided: bool = False

    @nn.compact
    def __call__(self, queries: jax.Array, keys: jax.Array) -> jax.Array:
        """The bias of some columns: ``[1, heads, S, C]``, of the dtype of the parameters.

        Args:
          queries: integers ``[S]``, columns of the queries. Texts lie in one piece, so that
            distances between columns are those within a text.
          keys: integers ``[C]``, columns of the keys.
        """
        a = self.architecture
        init = named(nn.initializers.normal(0.02), ("table_rows", "heads"))
        table = self.param("table", init, (a.position_buckets, self.heads))
        ahead = keys[None, :] - queries[:, None]
        of_distance = jnp.asarray(
            distance_buckets(a.position_buckets // (2 - self.one_sided), a.max_positions)
        )
        far = len(of_distance) - 1
        before = of_distance[jnp.clip(-ahead, 0, far)]
        if not self.one_sided:
            after = of_distance[jnp.clip(ahead, 0, far)] + a.position_buckets // 2
            before = jnp.where(ahead > 0, after, before)
        return jnp.take(table, before, axis=0).transpose(2, 0, 1)[None]


def distance_buckets(buckets: int, most: int) -> np.ndarray:
    """The bucket of each distance to one side.

    The first half of the buckets has one distance each; the other half shares those up to `most`
    by their logarithm, and all larger ones are in the last.

    Args:
      buckets: of the side.
      most: the distance from which on all are in the last bucket.

    Returns:
      int32 ``[most + 1]``.

    >>> distance_buckets(4, 8).tolist()
    [0, 1, 2, 2, 3, 3, 3, 3, 3]
    """
    distances, near = np.arange(most + 1), buckets // 2
    # float32 as in the models that were trained: it decides where a logarithm is a whole number.
    shares = np.log(np.maximum(distances, near).astype(np.float32) / np.float32(near))
    shared = shares / np.float32(np.log(most / near)) * np.float32(buckets - near)
    far = np.minimum(near + shared.astype(np.int32), buckets - 1)
    return np.where(distances < near, distances, far).astype(np.int32)
