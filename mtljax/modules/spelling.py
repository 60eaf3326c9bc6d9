"""Words read as characters: a convolution over their spelling."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtljax.modules.named_axes import named, named_dense

_CHARACTERS = 256
_WINDOW = 3


class SpellingEncoder(nn.Module):
    """A vector a word from its characters, by a convolution and the maximum over the word.

    As Ma and Hovy, "End-to-end sequence labeling via bi-directional LSTM-CNNs-CRF" (ACL 2016), with
    a linear layer on top, so that the vector is added to that of the word.

    Attributes:
      characters: of a word that are read, `C`.
      features: width of the vectors.
      width: of the vectors of characters.
      filters: features of three characters in a row, of which a word has the largest.
      zeros: whether vectors start at zero.
    """

    characters: int
    features: int
    width: int = 8
    filters: int = 32
    zeros: bool = False

    @nn.compact
    def __call__(self, packed: jax.Array) -> jax.Array:
        """Read words.

        Args:
          packed: int32 ``[R, S, P]``, four characters a number, 0 where there is none, as
            `mtljax.data.tokenizers` packs them.

        Returns:
          ``[R, S, features]``; 0 for words without characters.
        """
        init = named(nn.initializers.normal(1.0), ("characters", "character_features"))
        table = self.param("characters", init, (_CHARACTERS, self.width))
        ids = unpacked(packed, self.characters).reshape(-1, self.characters)
        there = (ids > 0)[..., None]
        x = jnp.where(there, jnp.take(table, ids, axis=0), 0)
        # As a product of matrices: XLA's convolutions take longer on CPUs.
        around = jnp.pad(x, ((0, 0), (_WINDOW // 2, _WINDOW // 2), (0, 0)))
        windows = [around[:, i : i + self.characters] for i in range(_WINDOW)]
        read = jnp.concatenate(windows, axis=-1).reshape(-1, _WINDOW * self.width)
        names = named_dense(("character_features", "filters"), ("filters",))
        found = nn.relu(nn.Dense(self.filters, name="filters", **names)(read))
        found = jnp.where(there, found.reshape(*ids.shape, self.filters), 0)
        # As large as the vector of a word.
        size = 0.0 if self.zeros else (self.features * self.filters) ** -0.5
        init = named(nn.initializers.normal(size), ("filters", "embedding"))
        out = self.param("out", init, (self.filters, self.features))
        return (jnp.max(found, axis=1) @ out).reshape(*packed.shape[:-1], self.features)


def unpacked(packed: jax.Array, characters: int) -> jax.Array:
    """Characters ``[..., characters]`` from 0 to 255 of numbers ``[..., P]`` of four each.

    >>> unpacked(jnp.array([[0x04030201, 5]]), 5)
    Array([[1, 2, 3, 4, 5]], dtype=int32)
    """
    each = (packed[..., None] >> (8 * jnp.arange(4))) & 255
    return each.reshape(*packed.shape[:-1], -1)[..., :characters]
