"""Token embeddings: a table of words, one of hashed affixes, characters, and word dropout."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtljax.gradients import look_up
from mtljax.modules.dropout import LockedDropout, Masked, drop_tokens
from mtljax.modules.named_axes import named
from mtljax.modules.spelling import SpellingEncoder
from mtljax.special_tokens import OOV


class Embedded(NamedTuple):
    """The output of the embedding.

    Attributes:
      vectors: ``[R, S, D]``, the embedded tokens.
      table: ``[V, D]``, the word table itself, for a softmax that is tied to it.
    """

    vectors: jax.Array
    table: jax.Array


class TokenEmbedding(nn.Module):
    """Sum of a word's vector and of the vectors of its hashed prefixes, suffixes and shape.

    A rare word has little data for a vector of its own; its affixes are shared with others (as the
    character n-grams of Bojanowski et al. 2017).

    Attributes:
      vocabulary_size: rows ``V`` of the word table.
      features: width ``D``.
      affix_buckets: rows of the affix table; 0 for none.
      characters: of each word that are read by a convolution, which adds a vector; 0 for none.
      character_sizes: width of the vectors of characters, and number of filters.
      word_dropout: probability that a word is read as unknown; its affixes and characters stay.
      token_dropout: probability that a word, its affixes and characters are read as unknown.
      dropout: probability that a feature is dropped, at all positions of a row.
      zeros: whether vectors start at zero, so that words that are rare in training add nothing
        rather than something random; for linear models, whose heads break the symmetry.
      unknown: the id of an unknown word.
      scale: factor of the vectors; the table that is returned is without it, for a tied softmax.
    """

    vocabulary_size: int
    features: int
    affix_buckets: int = 0
    characters: int = 0
    character_sizes: tuple[int, int] = (8, 32)
    word_dropout: float = 0.0
    token_dropout: float = 0.0
    dropout: float = 0.0
    zeros: bool = False
    scale: float = 1.0
    unknown: int = OOV

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        affixes: jax.Array | None = None,
        masked: Masked | None = None,
        *,
        train: bool,
    ) -> Embedded:
        """Embed tokens.

        Args:
          tokens: ``[R, S]`` ids.
          affixes: ``[R, S, A]``, the hashed affixes of each, 0 where there is none; then its
            characters, packed as `mtljax.data.tokenizers` does.
          masked: what has dropout masks of its own; None for rows 0 to R - 1.
          train: whether dropout is on.

        Returns:
          `Embedded`.
        """
        init = nn.initializers.normal(0.0 if self.zeros else self.features**-0.5)
        init = named(init, ("vocabulary", "embedding"))
        table = self.param("words", init, (self.vocabulary_size, self.features))
        kept = jnp.ones(tokens.shape, bool)
        rows = None if masked is None else masked.rows
        if train and self.token_dropout:
            ones = kept.astype(jnp.int32)
            marked = drop_tokens(ones, self.token_dropout, 0, self.make_rng("dropout"), rows)
            kept = marked > 0
            tokens = jnp.where(kept, tokens, self.unknown)
        if train and self.word_dropout:
            key = self.make_rng("dropout")
            tokens = drop_tokens(tokens, self.word_dropout, self.unknown, key, rows)
        vectors = look_up(table, tokens)
        if affixes is not None:
            affixes = jnp.where(kept[..., None], affixes, 0)
        if self.characters and affixes is not None:
            first = affixes.shape[-1] - -(-self.characters // 4)
            affixes, packed = affixes[..., :first], affixes[..., first:]
            spelling = SpellingEncoder(
                self.characters,
                self.features,
                *self.character_sizes,
                zeros=self.zeros,
                name="spelling",
            )
            vectors = vectors + spelling(packed)
        if self.affix_buckets and affixes is not None:
            hashed = self.param("affixes", init, (self.affix_buckets, self.features))
            present = (affixes > 0)[..., None].astype(vectors.dtype)
            summed = (look_up(hashed, affixes) * present).sum(-2)
            vectors = vectors + summed / jnp.sqrt(jnp.maximum(present.sum(-2), 1.0))
        vectors = LockedDropout(self.dropout)(self.scale * vectors, masked, train=train)
        return Embedded(vectors, table)
