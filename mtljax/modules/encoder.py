"""The shared encoder: an embedding, one of three bodies and a dense layer.

It reads whole rows in a call; or, to generate text, prompts in `Encoder.prefill` and what follows
token by token in `Encoder.decode_step`. Prompts end at the last column of their rows, so that what
follows has the same column in all of them; what is before a prompt is padding, which nothing sees.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from mtljax.modules.attention_mask import AttentionByRow, is_any
from mtljax.modules.beam_cache import beam_mask
from mtljax.modules.by_position import by_position
from mtljax.modules.config import Attention, EncoderConfig
from mtljax.modules.dropout import LockedDropout, Masked
from mtljax.modules.embedding import Embedded, TokenEmbedding
from mtljax.modules.heads import Features
from mtljax.modules.linear import LinearEncoder
from mtljax.modules.lstm import LSTMEncoder
from mtljax.modules.named_axes import named_dense
from mtljax.modules.packed_rows import by_rows, second_part, source_part
from mtljax.modules.self_attention import LongImplementation
from mtljax.modules.transformer import TransformerEncoder
from mtljax.special_tokens import OWN_MARKS, Marks


class EncoderCache(NamedTuple):
    """What an encoder keeps of the texts that it has read; the leading axis of all are the rows.

    Attributes:
      body: of a transformer a `KeysValues` or `BeamKeysValues` for each layer, of an LSTM an
        `LSTMState` for each, of the linear encoder `LastTokens`.
      starts: int32 ``[R]``, the column of a row's first token.
      width: int32 ``[R]``, columns of the prompts, the same in all rows.
      owners: int32 ``[P, K, C]``, of a transformer in a beam search, whose rows are K beams of each
        of P prompts: the beam whose column each of them sees. None elsewhere.
    """

    body: Any
    starts: jax.Array
    width: jax.Array
    owners: jax.Array | None = None


class Encoder(nn.Module):
    """The one encoder that all tasks share.

    Attributes:
      config: its shape.
      vocabulary_size: number of token ids.
      affix_buckets: number of affix ids, 0 for none.
      bidirectional: whether an LSTM reads in both directions.
      dtype: dtype of the computation; parameters stay float32.
      rows: how the rows of activations are split among devices; None to leave that to XLA.
      marks: the special ids of the vocabulary.
      characters: of each word that are read; 0 for none.
      long: attention of rows of 2,048 positions and more, where it is 'auto'.
    """

    config: EncoderConfig
    vocabulary_size: int
    affix_buckets: int = 0
    bidirectional: bool = False
    dtype: DTypeLike = jnp.float32
    rows: NamedSharding | None = None
    marks: Marks = OWN_MARKS
    characters: int = 0
    long: LongImplementation = "blocks"

    def setup(self) -> None:
        """Name the parts."""
        c = self.config
        # Layers add to what they read: a word has to be as large as what they add, or it is lost
        # among it (Vaswani et al. 2017, section 3.4).
        scale = 1.0
        if c.kind == "transformer":
            scale = c.architecture.embedding_scale or c.embedding**0.5
        self.embedding = TokenEmbedding(
            self.vocabulary_size,
            c.embedding,
            affix_buckets=self.affix_buckets,
            characters=self.characters,
            character_sizes=(c.character_embedding, c.character_filters),
            word_dropout=c.word_dropout,
            token_dropout=c.token_dropout,
            dropout=c.embedding_dropout,
            zeros=c.kind == "linear",
            scale=scale,
            unknown=self.marks.unknown,
        )
        self.body = self._make_body(name=c.kind)
        if c.dense:
            names = named_dense(("features", "dense"), ("dense",))
            self.dense = nn.Dense(c.dense, dtype=self.dtype, **names)
            self.dense_dropout = LockedDropout(c.dropout, name="LockedDropout_0")

    def __call__(
        self,
        batch: Mapping[str, jax.Array],
        *,
        attention: Attention | AttentionByRow,
        train: bool,
        embedded: Embedded | None = None,
    ) -> Features:
        """Encode packed rows.

        Args:
          batch: ``tokens``, ``segments``, ``positions`` ``[R, S]`` and, where the tokenizer makes
            them, ``affixes`` ``[R, S, A]``; ``types`` ``[R, S]``, token types, by default 1 in
            the second text of a pair and 0 elsewhere; ``rows`` ``[R]``, numbers by which rows draw
            their dropout, 0 to R - 1 by default; ``words`` ``[R, S]``, see `Features`.
          attention: what positions see of each other, in all rows or in each. An LSTM reads in its
            own direction whatever is asked, ``separate`` texts each for itself.
          train: whether dropout is on (it needs the RNG ``dropout``).
          embedded: from `embed_rows`; None where they are to be embedded here.

        Returns:
          ``Features`` with ``hidden`` ``[R, S, D]``.

        Raises:
          ValueError: if a bidirectional LSTM is not to see ahead.
        """
        parts, source = _parts_and_source(batch, attention, self.marks.answer[-1])
        causal = is_any(attention, "causal", "prefix")
        masked = self._masked(batch)
        vectors, table = self.embed_rows(batch, train=train) if embedded is None else embedded
        vectors = by_rows(vectors, self.rows)
        x = vectors.astype(self.dtype)
        match self.body:
            case LSTMEncoder():
                if self.bidirectional and causal is not False:
                    raise ValueError("a bidirectional LSTM cannot serve a causal input group")
                hidden = self.body(x, parts, masked, train=train)
            case TransformerEncoder():
                hidden = self.body(
                    x,
                    parts,
                    batch["positions"],
                    masked,
                    causal=causal,
                    train=train,
                    source=_seen_by_all(source, attention),
                    types=self._types(batch, attention),
                )
            case LinearEncoder():
                hidden = self.body(x, batch["tokens"], parts)
        hidden = by_rows(self._through_dense(hidden, masked, train=train), self.rows)
        words = batch.get("words")
        return Features(hidden, vectors, table, batch["segments"], source, masked.rows, words=words)

    def embed_rows(self, batch: Mapping[str, jax.Array], *, train: bool) -> Embedded:
        """Embed the tokens of packed rows, as a call does."""
        tokens, affixes = batch["tokens"], batch.get("affixes")
        return self.embed(tokens, affixes, self._masked(batch), train=train)

    def _masked(self, batch: Mapping[str, jax.Array]) -> Masked:
        rows = batch.get("rows")
        rows = jnp.arange(batch["segments"].shape[0]) if rows is None else rows
        return Masked(rows, batch["segments"] if self.config.dropout_mask == "text" else None)

    def prefill(
        self, batch: dict[str, jax.Array], *, attention: Attention, room: int
    ) -> tuple[Features, EncoderCache]:
        """Encode prompts, and return what `decode_step` continues from.

        Args:
          batch: as of a call, ``[R, L]``: one text a row, segment 1, that ends at the last column;
            segment 0 before it.
          attention: what positions see of each other.
          room: tokens that will follow at most.

        Returns:
          `Features` of the prompts, and the cache.

        Raises:
          ValueError: if the encoder is a bidirectional LSTM.
        """
        tokens, segments = batch["tokens"], batch["segments"]
        parts, source = _parts_and_source(batch, attention, self.marks.answer[-1])
        embedded, table = self.embed(tokens, batch.get("affixes"), train=False)
        embedded = by_rows(embedded, self.rows)
        x = embedded.astype(self.dtype)
        match self.body:
            case LSTMEncoder():
                hidden, cache = self.body.prefill(x, parts)
            case TransformerEncoder():
                hidden, cache = self.body.prefill(
                    x,
                    parts,
                    batch["positions"],
                    causal=attention in ("causal", "prefix"),
                    source=source,
                    types=self._types(batch, attention),
                    room=room,
                )
            case LinearEncoder():
                hidden, cache = self.body.prefill(x, tokens, parts)
        hidden = by_rows(self._through_dense(hidden, train=False), self.rows)
        rows, width = tokens.shape
        starts = width - jnp.asarray(segments, jnp.int32).sum(1)
        features = Features(hidden, embedded, table, segments, source)
        return features, EncoderCache(cache, starts, jnp.full(rows, width))

    def decode_step(
        self, tokens: jax.Array, affixes: jax.Array | None, cache: EncoderCache, count: jax.Array
    ) -> tuple[Features, EncoderCache]:
        """Encode one more token a row, with the parameters of `kv_cache_decoding.prepare`.

        Args:
          tokens: int32 ``[R, 1]``.
          affixes: int32 ``[R, 1, A]``, theirs; None where there are none.
          cache: from `prefill` or the token before.
          count: int32 scalar, tokens that were read since the prompts.

        Returns:
          `Features` of these positions ``[R, 1, ...]``, and the new cache.
        """
        embedded, table = self.embed(tokens, affixes, train=False)
        x, owners = embedded.astype(self.dtype), cache.owners
        match self.body:
            case TransformerEncoder():
                column = cache.width[0] + count
                columns = jnp.arange((cache.body[0].keys if owners is None else owners).shape[-1])
                mask = (columns >= cache.starts[:, None]) & (columns <= column)
                if owners is None:
                    mask = mask[:, None, None]
                else:
                    # What a beam reads now, it sees in its own column.
                    beams = jnp.arange(owners.shape[1], dtype=jnp.int32)
                    owners = owners.at[:, :, column].set(beams)
                    mask = beam_mask(owners, mask)
                positions = (column - cache.starts)[:, None]
                hidden, body = self.body.decode_step(x, mask, positions, cache.body, column)
            case LSTMEncoder():
                hidden, body = self.body.decode_step(x, cache.body)
            case LinearEncoder():
                hidden, body = self.body.decode_step(x, tokens, cache.body)
        hidden = self._through_dense(hidden, train=False)
        features = Features(hidden, embedded, table, jnp.ones_like(tokens))
        return features, cache._replace(body=body, owners=owners)

    def embed(
        self,
        tokens: jax.Array,
        affixes: jax.Array | None = None,
        masked: Masked | None = None,
        *,
        train: bool,
    ) -> Embedded:
        """Embed tokens, without their context; see `TokenEmbedding`."""
        return self.embedding(tokens, affixes, masked, train=train)

    def _types(
        self, batch: Mapping[str, jax.Array], attention: Attention | AttentionByRow
    ) -> jax.Array | None:
        """Token types ``[R, S]``; None where they are all 0, or there are none."""
        if "types" in batch or self.config.architecture.token_types < 2:
            return batch.get("types")
        both_ways = is_any(attention, "bidirectional")
        if both_ways is False:
            return None
        inputs = (batch[name] for name in ("tokens", "segments", "positions"))
        second = second_part(*inputs, end=self.marks.end)
        return (second if both_ways is True else second & both_ways[:, None]).astype(jnp.int32)

    def _through_dense(
        self, hidden: jax.Array, masked: Masked | None = None, *, train: bool
    ) -> jax.Array:
        if not self.config.dense:
            return hidden
        hidden = nn.relu(by_position(self.dense, hidden))
        return self.dense_dropout(hidden, masked, train=train)

    def _make_body(self, name: str) -> LSTMEncoder | TransformerEncoder | LinearEncoder:
        c = self.config
        if c.kind == "lstm":
            return LSTMEncoder(
                c.features,
                layers=c.layers,
                bidirectional=self.bidirectional,
                dropout=c.dropout,
                recurrent_dropout=c.recurrent_dropout,
                dtype=self.dtype,
                name=name,
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
                architecture=c.architecture,
                long=self.long,
                dtype=self.dtype,
                rows=self.rows,
                name=name,
            )
        return LinearEncoder(c.embedding, c.ngrams, c.ngram_buckets, name=name)


def _parts_and_source(
    batch: Mapping[str, jax.Array], attention: Attention | AttentionByRow, end: int
) -> tuple[jax.Array, jax.Array | None]:
    """What positions are read together with, ``[R, S]``, and which of them are of a source."""
    segments = batch["segments"]
    if is_any(attention, "prefix", "separate") is False:
        return segments, None
    source = source_part(batch["tokens"], segments, batch["positions"], end)
    separate, apart = is_any(attention, "separate"), 2 * segments - source
    if isinstance(separate, bool):
        return (apart if separate else segments), source
    return jnp.where(separate[:, None], apart, segments), source


def _seen_by_all(
    source: jax.Array | None, attention: Attention | AttentionByRow
) -> jax.Array | None:
    """Which positions all of a causal text see: those of a prefix; None where there is none."""
    prefix = is_any(attention, "prefix")
    if source is None or prefix is False:
        return None
    return source if prefix is True else source & prefix[:, None]
