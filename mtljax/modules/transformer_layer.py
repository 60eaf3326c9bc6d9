"""One layer of a transformer: self-attention and a feed-forward block, each with a residual."""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from mtljax.modules.architecture import DEFAULT, Architecture, head_size
from mtljax.modules.beam_cache import BeamKeysValues
from mtljax.modules.by_position import (
    by_position,
    with_bottleneck,
    with_experts,
    with_film,
    with_prefix,
    with_projected_attention,
    with_stitch,
)
from mtljax.modules.dropout import LockedDropout, Masked
from mtljax.modules.feed_forward import feed_forward
from mtljax.modules.keys_values import KeysValues, keys_values
from mtljax.modules.named_axes import named_dense
from mtljax.modules.norms import make_norm
from mtljax.modules.packed_mask import PackedMask
from mtljax.modules.packed_rows import by_rows
from mtljax.modules.self_attention import (
    Implementation,
    attend_cache,
    attend_row,
    attend_source,
    queries_keys_values,
    scaled_query,
)


class LayerKind(NamedTuple):
    """In what a layer differs from the others; of stacked layers, arrays along their axis.

    Attributes:
      local: whether it sees a window alone.
      first: whether it is the first.
    """

    local: jax.Array | bool
    first: jax.Array | bool


class Masks(NamedTuple):
    """What positions see in global and in local layers."""

    whole: jax.Array
    window: jax.Array


class TransformerLayer(nn.Module):
    """One layer: self-attention, then a feed-forward block, each with a residual.

    Attributes:
      features: width ``D`` of input and output.
      heads: attention heads, each of ``D / heads`` features.
      feed_forward: width of the feed-forward block.
      dropout: probability that a feature of a residual branch is dropped.
      dtype: dtype of the computation.
      implementation: of the attention, see `attend_row`.
      train: whether dropout is on.
      rows: how the rows of activations are split among devices; None to leave that to XLA.
      return_cache: whether a call without a cache returns the keys and values of its positions.
      architecture: its parts.
    """

    features: int
    heads: int
    feed_forward: int
    dropout: float
    dtype: DTypeLike
    implementation: Implementation | None
    train: bool
    rows: NamedSharding | None = None
    return_cache: bool = False
    architecture: Architecture = DEFAULT

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | Masks | PackedMask | None,
        positions: jax.Array,
        masked: Masked | None,
        kind: LayerKind | None = None,
        distances: jax.Array | None = None,
        cache: KeysValues | BeamKeysValues | None = None,
        column: jax.Array | int = 0,
        source: tuple[KeysValues, jax.Array | PackedMask] | None = None,
    ) -> tuple[jax.Array, KeysValues | BeamKeysValues | None]:
        """Map ``x`` ``[R, S, D]`` to the same shape.

        Args:
          x: ``[R, S, D]``.
          mask: bool, what each position sees: ``[R, 1, S, S]`` positions of ``x`` (None for all of
            them), or ``[R, 1, S, C]`` columns of ``cache``, or what `beam_mask` returns; both
            masks where some layers are local; or the `PackedMask` of long rows.
          positions: ``[R, S]``, of the rotary embedding.
          masked: what has dropout masks of its own; None for rows 0 to R - 1.
          kind: in what it differs from other layers; None where all are alike.
          distances: of disentangled and relative positions, see `queries_keys_values`; None of
            others.
          cache: keys and values of C columns, those of ``x`` to be written among them.
          column: where the first position of ``x`` is written in ``cache``.
          source: keys and values of another text, and which of its columns each position sees;
            the layer attends to it between its two blocks.

        Returns:
          ``[R, S, D]``, and the cache with the positions of ``x`` in it. Without ``cache`` their
          keys and values alone, if `return_cache`, else None.
        """
        a = self.architecture
        size = head_size(a, self.features, self.heads)
        local = False if kind is None else kind.local
        if isinstance(mask, Masks):
            mask = jnp.where(local, mask.window, mask.whole)
        if isinstance(mask, PackedMask) and mask.window:
            mask = dataclasses.replace(mask, local=jnp.asarray(local))
        x = by_rows(x, self.rows)
        y = self._before("attention_norm", x)
        if not a.first_norm and kind is not None:
            y = jnp.where(kind.first, x, y)
        qkv = queries_keys_values(y, a, self.heads, size, positions, local, distances, self.dtype)
        read = y
        if cache is None:
            y = attend_row(qkv, mask, self.implementation, self.rows)
            if self.return_cache:
                cache = keys_values(qkv.key, qkv.value)
        else:
            assert isinstance(mask, jax.Array)  # of the columns written so far
            y, cache = attend_cache(qkv, mask, cache, column)
        y = with_prefix(self, "prefix", qkv.query, y)
        out_names = named_dense(("heads", "head_features", "features"), ("features",))
        out = nn.DenseGeneral(
            self.features,
            axis=(-2, -1),
            dtype=self.dtype,
            use_bias=a.out_bias,
            name="out",
            **out_names,
        )
        x = self._add(x, by_position(out, y), masked, "attention")
        if source is not None:
            y = self._before("source_norm", x)
            source_query = nn.DenseGeneral(
                (self.heads, size),
                dtype=self.dtype,
                use_bias=a.qkv_bias,
                name="source_query",
                **named_dense(("features", "heads", "head_features"), ("heads", "head_features")),
            )
            query = scaled_query(by_position(source_query, y), a)
            y = attend_source(query, *source)
            out = nn.DenseGeneral(
                self.features,
                axis=(-2, -1),
                dtype=self.dtype,
                use_bias=a.out_bias,
                name="source_out",
                **out_names,
            )
            x = self._add(x, by_position(out, y), masked, "source")
        y = self._before("feed_forward_norm", x)
        y = with_experts(self, "experts", y, feed_forward(y, a, self.feed_forward, self.dtype))
        y = with_projected_attention(self, "pal", read, mask, y)
        x = with_film(self, "film", self._add(x, y, masked, "feed_forward", last=True))
        return with_stitch(self, "stitch", x), cache

    def _before(self, name: str, x: jax.Array) -> jax.Array:
        """What a block reads."""
        if self.architecture.norm_placement == "after":
            return x
        return make_norm(self.architecture, self.dtype, name)(x)

    def _add(
        self, x: jax.Array, y: jax.Array, masked: Masked | None, block: str, *, last: bool = False
    ) -> jax.Array:
        """The residual sum of a block, with its norm where there is one."""
        placement = self.architecture.norm_placement
        y = with_bottleneck(self, f"{block}_adapter", y)
        if placement == "around":
            y = make_norm(self.architecture, self.dtype, f"{block}_out_norm")(y)
        x = x + LockedDropout(self.dropout)(y, masked, train=self.train)
        if placement == "after":
            x = make_norm(self.architecture, self.dtype, f"{block}_norm")(x)
        return x if last else by_rows(x, self.rows)
