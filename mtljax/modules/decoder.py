"""A transformer decoder as the head of a task, which attends to the encoded source."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtljax.modules.architecture import DEFAULT, Architecture, head_size
from mtljax.modules.blockwise_attention import LONG
from mtljax.modules.config import ReadoutKind
from mtljax.modules.dropout import Masked
from mtljax.modules.heads import Features, LanguageModelHead, Readout, TableHead
from mtljax.modules.keys_values import KeysValues, keys_values
from mtljax.modules.norms import make_norm
from mtljax.modules.packed_mask import PackedMask, packed_mask, seen_by
from mtljax.modules.relative import RelativeBias
from mtljax.modules.self_attention import implementation_for
from mtljax.modules.transformer_layer import TransformerLayer


class DecoderStack(nn.Module):
    """Transformer layers that attend to what they have read, then to a source.

    Attributes:
      features: width ``D``.
      layers: number of layers.
      heads: attention heads.
      feed_forward: width of the feed-forward block.
      dropout: probability that a feature of a residual branch is dropped.
      dtype: dtype of the computation.
      architecture: what the layers are made of.
    """

    features: int
    layers: int
    heads: int
    feed_forward: int
    dropout: float
    dtype: DTypeLike
    architecture: Architecture = DEFAULT

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | PackedMask,
        positions: jax.Array,
        memory: Sequence[KeysValues],
        source: jax.Array | PackedMask,
        caches: Sequence[KeysValues] | None = None,
        column: jax.Array | int = 0,
        masked: Masked | None = None,
        *,
        train: bool,
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """Map ``x`` ``[R, S, E]`` to ``[R, S, D]``.

        Args:
          x: embedded tokens of the answer.
          mask: which columns of the answer each position sees, ``[R, 1, S, C]`` or as data.
          positions: ``[R, S]``.
          memory: by layer, keys and values of L columns of the source.
          source: which of these each position sees, ``[R, 1, S, L]`` or as data.
          caches: by layer, what was read before, of C columns; None where x is all there is.
          column: where x is written in `caches`.
          masked: what has dropout masks of its own; None for rows 0 to R - 1.
          train: whether dropout is on.

        Returns:
          The output, and by layer the new cache.
        """
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, dtype=self.dtype, name="project")(x)
        x, written, bias = x.astype(self.dtype), [], None
        if self.architecture.positions == "relative":
            assert isinstance(mask, jax.Array)  # pairs of positions are held
            relative = RelativeBias(self.architecture, self.heads, one_sided=True, name="relative")
            bias = relative(column + jnp.arange(x.shape[1]), jnp.arange(mask.shape[-1]))
        for i, layer_memory in enumerate(memory):
            layer = TransformerLayer(
                self.features,
                self.heads,
                self.feed_forward,
                self.dropout,
                self.dtype,
                implementation=None,
                train=train,
                architecture=self.architecture,
                name=f"layer_{i}",
            )
            cache = None if caches is None else caches[i]
            x, cache = layer(
                x, mask, positions, masked, None, bias, cache, column, (layer_memory, source)
            )
            written.append(cache)
        if self.architecture.norm_placement != "after":
            x = make_norm(self.architecture, self.dtype, "final_norm", remat=False)(x)
        return x, tuple(written)


class DecoderCache(NamedTuple):
    """What a decoder keeps of each row; the leading axis of all are the rows.

    Attributes:
      memory: by layer, the `KeysValues` of the source.
      source: bool ``[R, L]``, which columns of the prompts are a source.
      answer: by layer, the `KeysValues` of the answer so far.
    """

    memory: tuple[KeysValues, ...]
    source: jax.Array
    answer: tuple[KeysValues, ...]


class DecoderHead(nn.Module):
    """The next word of an answer, from its words so far and its source (Vaswani et al. 2017).

    It embeds words by the shared table, and reads them out by it or one of its own. Positions of
    the source run through it as well, and are not read, so that packed rows stay as they are.

    Attributes:
      outputs: number of classes.
      features: width ``D`` of the encoder's output and of the layers, a multiple of twice `heads`
        where the architecture says no other size of a head.
      layers: number of layers.
      heads: attention heads.
      feed_forward: width of the feed-forward block.
      dropout: probability that a feature of a residual branch is dropped.
      dtype: dtype of the computation.
      readout: how words are read out, see `DecoderConfig`.
      architecture: what the layers are made of, see `DecoderConfig`.
    """

    outputs: int
    features: int
    layers: int = 1
    heads: int = 4
    feed_forward: int = 512
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32
    readout: ReadoutKind = "project"
    architecture: Architecture = DEFAULT

    def setup(self) -> None:
        """Name the parts."""
        a = self.architecture
        # Keys and values of the source, for all layers at once.
        shape = (self.layers, 2, self.heads, head_size(a, self.features, self.heads))
        self.memory = nn.DenseGeneral(shape, dtype=self.dtype, use_bias=a.qkv_bias)
        self.stack = DecoderStack(
            self.features, self.layers, self.heads, self.feed_forward, self.dropout, self.dtype, a
        )
        projects = self.readout == "project"
        self.read_out = (
            LanguageModelHead(self.outputs, name="readout")
            if projects
            else TableHead(self.outputs, own=self.readout == "own", name="readout")
        )

    def __call__(self, features: Features, output_ids: jax.Array, *, train: bool) -> Readout:
        """Queries for the word that follows each position of the answers.

        Args:
          features: of the encoder, with `source`.
          output_ids: ``[outputs]``, the word ids that are the classes, in order.
          train: whether dropout is on.

        Returns:
          A `Readout`; at positions of sources it has no meaning.
        """
        segments, source = features.segments, features.source
        if source is None:
            raise ValueError("features.source: a decoder needs to know it")
        seen = packed_mask(2 * segments - source, causal=True)
        of_source = PackedMask(segments, jnp.where(source, segments, -1))
        size = segments.shape[1]
        held = implementation_for(size, None, self.architecture) == "xla"
        hidden, _ = self.stack(
            features.embedded,
            seen_by(seen) if held else seen,
            # Only distances count, and a text stands in one piece.
            jnp.broadcast_to(jnp.arange(segments.shape[1]), segments.shape),
            self.remember(features.hidden),
            of_source if size >= LONG else seen_by(of_source),
            masked=features.masked(),
            train=train,
        )
        return self.read_out(features._replace(hidden=hidden), output_ids, train=train)

    def remember(self, hidden: jax.Array) -> tuple[KeysValues, ...]:
        """The keys and values of an encoded source ``[R, L, D]``, for each layer."""
        both = self.memory(hidden.astype(self.dtype))
        return tuple(keys_values(both[:, :, i, 0], both[:, :, i, 1]) for i in range(self.layers))

    def prefill(self, features: Features, room: int) -> DecoderCache:
        """What `decode_step` reads of encoded sources, with room for the mark and `room` tokens.

        Args:
          features: of the encoder, ``[R, L, ...]``, with `source`.
          room: tokens that the answers get at most.

        Returns:
          The cache of answers that have not begun.
        """
        if features.source is None:
            raise ValueError("features.source: a decoder needs to know it")
        memory = self.remember(features.hidden)
        shape = (*memory[0].keys.shape[:-1], room + 1)
        empty = tuple(KeysValues(*(jnp.zeros(shape, self.dtype),) * 2) for _ in memory)
        return DecoderCache(memory, features.source, empty)

    def decode_step(
        self,
        features: Features,
        output_ids: jax.Array,
        cache: DecoderCache,
        column: jax.Array | int,
    ) -> tuple[Readout, DecoderCache]:
        """Read one more position a row: a mark, then words of the answer.

        Args:
          features: `embedded` ``[R, 1, E]``, what is read, and `table`; the rest is not read.
          output_ids: as for a whole text.
          cache: from `prefill` or the position before.
          column: which position it is, 0 for the mark.

        Returns:
          A `Readout` ``[R, 1, ...]``, and the new cache.
        """
        columns = jnp.arange(cache.answer[0].keys.shape[-1])
        hidden, answer = self.stack(
            features.embedded,
            jnp.broadcast_to(columns <= column, (1, 1, 1, columns.shape[0])),
            jnp.broadcast_to(column, (cache.source.shape[0], 1)),
            cache.memory,
            cache.source[:, None, None],
            cache.answer,
            column,
            train=False,
        )
        readout = self.read_out(features._replace(hidden=hidden), output_ids, train=False)
        return readout, cache._replace(answer=answer)
