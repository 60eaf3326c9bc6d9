"""The shared encoder: an embedding and one of three bodies."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from mtljax.modules.by_position import by_position
from mtljax.modules.config import Attention, EncoderConfig
from mtljax.modules.dropout import LockedDropout
from mtljax.modules.embedding import TokenEmbedding
from mtljax.modules.heads import Features
from mtljax.modules.linear import LinearEncoder
from mtljax.modules.lstm import LSTMEncoder
from mtljax.modules.packed_rows import by_rows, source_part
from mtljax.modules.transformer import TransformerEncoder


class Encoder(nn.Module):
    """The one encoder that all tasks share.

    Attributes:
      config: its shape.
      vocabulary_size: number of token ids.
      affix_buckets: number of affix ids, 0 for none.
      bidirectional: whether an LSTM reads in both directions.
      dtype: dtype of the computation; parameters stay float32.
      rows: how the rows of activations are split among devices; None to leave that to XLA.
    """

    config: EncoderConfig
    vocabulary_size: int
    affix_buckets: int = 0
    bidirectional: bool = False
    dtype: DTypeLike = jnp.float32
    rows: NamedSharding | None = None

    @nn.compact
    def __call__(
        self, batch: dict[str, jax.Array], *, attention: Attention, train: bool
    ) -> Features:
        """Encode the packed rows of one input group.

        Args:
          batch: ``tokens``, ``segments``, ``positions`` ``[R, S]`` and, where the tokenizer makes
            them, ``affixes`` ``[R, S, A]``.
          attention: what positions see of each other. An LSTM reads in its own direction whatever
            is asked, ``separate`` texts each for itself.
          train: whether dropout is on (it needs the RNG ``dropout``).

        Returns:
          ``Features`` with ``hidden`` ``[R, S, D]``.

        Raises:
          ValueError: if a bidirectional LSTM is not to see ahead.
        """
        c = self.config
        segments, source = batch["segments"], None
        parts = segments
        if attention in ("prefix", "separate"):
            source = source_part(batch["tokens"], segments, batch["positions"])
            parts = 2 * segments - source if attention == "separate" else segments
        texts = segments if c.dropout_mask == "text" else None
        embedding = make_embedding(self)
        embedded, table = embedding(batch["tokens"], batch.get("affixes"), texts, train=train)
        embedded = by_rows(embedded, self.rows)
        x, body = embedded.astype(self.dtype), make_body(self)
        match body:
            case LSTMEncoder():
                if self.bidirectional and attention in ("causal", "prefix"):
                    raise ValueError(f"a bidirectional LSTM cannot serve a {attention} input group")
                hidden = body(x, parts, texts, train=train)
            case TransformerEncoder():
                hidden = body(
                    x,
                    parts,
                    batch["positions"],
                    texts,
                    causal=attention in ("causal", "prefix"),
                    train=train,
                    source=source,
                )
            case LinearEncoder():
                hidden = body(x, batch["tokens"], parts)
        if c.dense:
            dense = nn.Dense(c.dense, dtype=self.dtype, name="dense")
            hidden = nn.relu(by_position(dense, hidden))
            hidden = LockedDropout(c.dropout)(hidden, texts, train=train)
        return Features(by_rows(hidden, self.rows), embedded, table, segments, source)


def make_embedding(encoder: Encoder) -> TokenEmbedding:
    """The embedding of an encoder: ``embedding`` among its parameters."""
    c = encoder.config
    # Layers add to what they read: a word has to be as large as what they add, or it is lost among
    # it (Vaswani et al. 2017, section 3.4).
    scale = c.embedding**0.5 if c.kind == "transformer" else 1.0
    return TokenEmbedding(
        encoder.vocabulary_size,
        c.embedding,
        affix_buckets=encoder.affix_buckets,
        word_dropout=c.word_dropout,
        token_dropout=c.token_dropout,
        dropout=c.embedding_dropout,
        zeros=c.kind == "linear",
        scale=scale,
        name="embedding",
    )


def make_body(encoder: Encoder) -> LSTMEncoder | TransformerEncoder | LinearEncoder:
    """The body of an encoder, which has its kind's name among the parameters."""
    c = encoder.config
    if c.kind == "lstm":
        return LSTMEncoder(
            c.features,
            layers=c.layers,
            bidirectional=encoder.bidirectional,
            dropout=c.dropout,
            recurrent_dropout=c.recurrent_dropout,
            dtype=encoder.dtype,
            name="lstm",
        )
    if c.kind == "transformer":
        return TransformerEncoder(
            c.features,
            layers=c.layers,
            heads=c.heads,
            feed_forward=c.feed_forward,
            dropout=c.dropout,
            remat=c.remat,
            unroll=c.unroll,
            implementation=None if c.attention == "auto" else c.attention,
            dtype=encoder.dtype,
            rows=encoder.rows,
            name="transformer",
        )
    return LinearEncoder(c.embedding, c.ngrams, c.ngram_buckets, name="linear")
