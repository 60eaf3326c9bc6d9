"""Heads: from features of the shared encoder to the predictions of one task."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtljax.modules import pooling
from mtljax.modules.by_position import by_position
from mtljax.modules.dropout import Dropout, LockedDropout, Masked

POOLINGS = ("mean", "root", "max", "last", "attention", "cls", "pooler")


class Features(NamedTuple):
    """The output of the shared encoder, which every head reads.

    Attributes:
      hidden: ``[R, S, D]``, the encoder's output.
      embedded: ``[R, S, E]``, the encoder's input, for heads that look ahead.
      table: ``[V, E]``, the word table, for a tied softmax.
      segments: ``[R, S]``, which text a position belongs to, 0 for padding.
      source: bool ``[R, S]``, which positions are of a text to be answered; None where none are.
      rows: integers ``[R]``, numbers by which rows draw their dropout; None for 0 to R - 1.
      heads: by name, the parameters of the heads that tasks of the input group have together with
        others; None where there are none.
      words: bool ``[R, S]``, which positions begin a word, where tags are of words of several
        pieces; None where every position of a text but the first is a word.
    """

    hidden: jax.Array
    embedded: jax.Array
    table: jax.Array
    segments: jax.Array
    source: jax.Array | None = None
    rows: jax.Array | None = None
    heads: Any = None
    words: jax.Array | None = None

    def masked(self) -> Masked | None:
        """One dropout mask a row."""
        return None if self.rows is None else Masked(self.rows)


class SegmentHead(nn.Module):
    """One prediction a text, or one for each of its classes: of a text as a unit.

    Attributes:
      outputs: number of predictions a text.
      poolings: names out of ``POOLINGS``; their results are concatenated.
      hidden: width of a relu layer between pooling and prediction; 0 for none.
      dropout: probability that a pooled feature is dropped.
    """

    outputs: int
    poolings: tuple[str, ...] = ("mean", "max")
    hidden: int = 0
    dropout: float = 0.0

    @nn.compact
    def __call__(self, features: Features, count: int, *, train: bool) -> jax.Array:
        """Predict for the ``count`` segments of each row: ``[R, count, outputs]`` float32."""
        members = pooling.segment_members(features.segments, count)
        pooled = [self._pool(name, features.hidden, members) for name in self.poolings]
        x = jnp.concatenate(pooled, axis=-1)
        x = Dropout(self.dropout)(x, features.rows, train=train)
        if self.hidden:
            x = nn.relu(nn.Dense(self.hidden, name="hidden")(x))
            x = Dropout(self.dropout)(x, features.rows, train=train)
        return nn.Dense(self.outputs, name="out")(x).astype(jnp.float32)

    def _pool(self, name: str, hidden: jax.Array, members: jax.Array) -> jax.Array:
        if name == "attention":
            scores = nn.Dense(1, name="scores")(hidden)[..., 0]
            return pooling.attention_pool(hidden, scores, members)
        if name == "pooler":
            first = pooling.first_pool(hidden, members)
            return nn.tanh(nn.Dense(hidden.shape[-1], name="pooler")(first))
        pool = {
            "mean": pooling.mean_pool,
            "root": pooling.root_pool,
            "max": pooling.max_pool,
            "last": pooling.last_pool,
            "cls": pooling.first_pool,
        }[name]
        return pool(hidden, members)


class TagScores(NamedTuple):
    """Predictions of tags, of which a text's are chosen together.

    Attributes:
      scores: ``[R, S, K]`` float32, of each tag at each position.
      between: ``[K, K]``, of each tag after each.
      start: ``[K]``, of a text's first tag.
      end: ``[K]``, of its last.
      texts: int32 ``[R, S]``, which text the word that begins at a position belongs to; 0 where
        none does.
    """

    scores: jax.Array
    between: jax.Array
    start: jax.Array
    end: jax.Array
    texts: jax.Array

    def plus(self, other: "TagScores") -> "TagScores":
        """The sum of the predictions of two heads for the same texts."""
        return TagScores(
            self.scores + other.scores,
            self.between + other.between,
            self.start + other.start,
            self.end + other.end,
            self.texts,
        )


class TokenHead(nn.Module):
    """One prediction a position, as taggers make.

    Attributes:
      outputs: number of tags.
      lookahead: number of following tokens whose embeddings the head sees, for encoders that have
        not read them.
      hidden: width of a relu layer before the prediction; 0 for none.
      dropout: probability that a feature is dropped.
      chained: whether the tags of a text are chosen together: it then predicts `TagScores`.
      transitions: whether it has scores of neighbouring tags, which begin at 0; else they are 0.
    """

    outputs: int
    lookahead: int = 0
    hidden: int = 0
    dropout: float = 0.0
    chained: bool = False
    transitions: bool = False

    @nn.compact
    def __call__(
        self, features: Features, count: int | None = None, *, train: bool
    ) -> jax.Array | TagScores:
        """Predict for every position: ``[R, S, outputs]`` float32, whatever the segments' count."""
        parts = [features.hidden]
        for distance in range(1, self.lookahead + 1):
            parts.append(pooling.following(features.embedded, features.segments, distance))
        x = jnp.concatenate(parts, axis=-1) if self.lookahead else features.hidden
        x = LockedDropout(self.dropout)(x, features.masked(), train=train)
        if self.hidden:
            x = nn.relu(by_position(nn.Dense(self.hidden, name="hidden"), x))
            x = LockedDropout(self.dropout)(x, features.masked(), train=train)
        scores = by_position(nn.Dense(self.outputs, name="out"), x).astype(jnp.float32)
        if not self.chained:
            return scores
        shapes = {"between": (self.outputs,) * 2, "start": (self.outputs,), "end": (self.outputs,)}
        between, start, end = (
            self.param(name, nn.initializers.zeros, shape) if self.transitions else jnp.zeros(shape)
            for name, shape in shapes.items()
        )
        return TagScores(scores, between, start, end, _texts_of_words(features))


def _texts_of_words(features: Features) -> jax.Array:
    segments, words = features.segments, features.words
    if words is None:
        # All but the mark at the begin of a text.
        words = segments == jnp.pad(segments[:, :-1], ((0, 0), (1, 0)))
    return jnp.where(words, segments, 0)


class Readout(NamedTuple):
    """A softmax over words, not yet multiplied out: ``logits = queries @ table.T + bias``.

    Attributes:
      queries: ``[R, S, E]``.
      table: ``[V_out, E]``.
      bias: ``[V_out]``.
    """

    queries: jax.Array
    table: jax.Array
    bias: jax.Array

    def logits(self) -> jax.Array:
        """``[R, S, V_out]`` float32."""
        product = jnp.einsum("rse,ve->rsv", self.queries, self.table)
        return product.astype(jnp.float32) + self.bias


class TableHead(nn.Module):
    """The next word, by a table alone, without dense layer and bias.

    Attributes:
      outputs: number of classes.
      own: whether it has a table of its own. Else it is the word table, and hidden states are
        divided by the root of their width (Raffel et al. 2020).
    """

    outputs: int
    own: bool = False

    @nn.compact
    def __call__(self, features: Features, output_ids: jax.Array, *, train: bool) -> Readout:
        """Queries for the word that follows each position, and the table they meet.

        Args:
          features: of a decoder.
          output_ids: ``[outputs]``, the word ids that are the classes, in order.
          train: whether dropout is on; there is none.

        Returns:
          A `Readout` over ``outputs`` classes.
        """
        x, bias = features.hidden, jnp.zeros(self.outputs, features.table.dtype)
        if self.own:
            shape = (self.outputs, x.shape[-1])
            return Readout(x, self.param("table", nn.initializers.normal(0.02), shape), bias)
        return Readout(x * x.shape[-1] ** -0.5, jnp.take(features.table, output_ids, axis=0), bias)


class LanguageModelHead(nn.Module):
    """The next word, by a softmax tied to the word table (Press and Wolf 2017).

    Attributes:
      outputs: number of classes.
      dropout: probability that a feature of the hidden state is dropped.
      project: whether a dense layer maps hidden states to the width of the table even where they
        have it already.
    """

    outputs: int
    dropout: float = 0.0
    project: bool = True

    @nn.compact
    def __call__(self, features: Features, output_ids: jax.Array, *, train: bool) -> Readout:
        """Queries for the word that follows each position, and the table they meet.

        Args:
          features: of the encoder.
          output_ids: ``[outputs]``, the word ids that are the classes, in order.
          train: whether dropout is on.

        Returns:
          A `Readout` over ``outputs`` classes.
        """
        x = LockedDropout(self.dropout)(features.hidden, features.masked(), train=train)
        width = features.table.shape[-1]
        if self.project or x.shape[-1] != width:
            x = nn.Dense(width, name="project")(x)
        table = jnp.take(features.table, output_ids, axis=0)
        bias = self.param("bias", nn.initializers.zeros, (self.outputs,))
        return Readout(x, table, bias)
