"""The transformer encoder over packed rows: pre-norm, rotary positions, scanned over layers."""

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from mtljax.modules.attention_mask import attention_mask
from mtljax.modules.beam_cache import BeamKeysValues, attend_beams, write_beams
from mtljax.modules.by_position import by_position
from mtljax.modules.dropout import LockedDropout
from mtljax.modules.fused_attention import fused_attention
from mtljax.modules.keys_values import KeysValues, attend, keys_values
from mtljax.modules.named_axes import named_dense, named_norm
from mtljax.modules.packed_rows import by_rows

Implementation = Literal["xla", "cudnn"]
Remat = Literal["none", "full", "dots"]

LAYERS, SINGLE_LAYER = "layers", "layer_"
"""Names among the parameters: of all layers, stacked, and of the axis along which they are; of a
single layer, before its number."""

_KEPT = {
    "full": jax.checkpoint_policies.nothing_saveable,
    # Products with parameters have no batch axis; those of attention, which are large, have.
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def rotate(x: jax.Array, positions: jax.Array, base: float = 10_000.0) -> jax.Array:
    """Rotary position embedding (Su et al. 2021).

    Args:
      x: queries or keys ``[R, S, heads, size]``, ``size`` even.
      positions: ``[R, S]`` integers, the position within the segment.
      base: the longest wavelength is about ``2 pi base`` positions.

    Returns:
      The same shape; the inner product of two rotated vectors depends on the distance alone.
    """
    half = x.shape[-1] // 2
    frequencies = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = positions[..., None].astype(jnp.float32) * frequencies
    cos, sin = (f(angles)[:, :, None, :].astype(x.dtype) for f in (jnp.cos, jnp.sin))
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def gelu(x: jax.Array) -> jax.Array:
    """The tanh approximation of GELU (Hendrycks and Gimpel 2016), in float32 or wider inside.

    Written with a sigmoid, ``(1 + tanh(z)) / 2 = sigmoid(2 z)``: an exponential and a division,
    where XLA has a rational function of z for the tanh.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    bent = wide + 0.044715 * wide**3
    return (wide * jax.nn.sigmoid((8 / jnp.pi) ** 0.5 * bent)).astype(x.dtype)


# Their backward passes compute them again: what they would keep, sigmoids and normalized features
# in float32, takes a fifth to two fifths more memory, and a CPU a tenth more time.
_LayerNorm = nn.remat(nn.LayerNorm)
_gelu = jax.checkpoint(gelu)


class TransformerLayer(nn.Module):
    """One pre-norm layer: self-attention, then a feed-forward block, each with a residual.

    Attributes:
      features: width ``D`` of input and output.
      heads: attention heads, each of ``D / heads`` features.
      feed_forward: width of the feed-forward block.
      dropout: probability that a feature of a residual branch is dropped.
      dtype: dtype of the computation.
      implementation: of ``jax.nn.dot_product_attention``.
      train: whether dropout is on.
      rows: how the rows of activations are split among devices; None to leave that to XLA.
      return_cache: whether a call without a cache returns the keys and values of its positions.
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

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None,
        positions: jax.Array,
        texts: jax.Array | None,
        cache: KeysValues | BeamKeysValues | None = None,
        column: jax.Array | int = 0,
        source: tuple[KeysValues, jax.Array] | None = None,
    ) -> tuple[jax.Array, KeysValues | BeamKeysValues | None]:
        """Map ``x`` ``[R, S, D]`` to the same shape.

        Args:
          x: ``[R, S, D]``.
          mask: bool, what each position sees: ``[R, 1, S, S]`` positions of ``x`` (None for all of
            them), or ``[R, 1, S, C]`` columns of ``cache``, or what `beam_mask` returns.
          positions: ``[R, S]``, of the rotary embedding.
          texts: ``[R, S]``, positions that share a dropout mask; None for one mask a row.
          cache: keys and values of C columns, those of ``x`` to be written among them.
          column: where the first position of ``x`` is written in ``cache``.
          source: keys and values of another text, and which of its columns each position sees;
            the layer attends to it between its two blocks.

        Returns:
          ``[R, S, D]``, and the cache with the positions of ``x`` in it. Without ``cache`` their
          keys and values alone, if `return_cache`, else None.
        """
        size = self.features // self.heads
        x = by_rows(x, self.rows)
        y = _LayerNorm(dtype=self.dtype, name="attention_norm", **named_norm())(x)
        qkv = by_position(
            nn.DenseGeneral(
                (3, self.heads, size),
                dtype=self.dtype,
                name="qkv",
                **named_dense(
                    ("features", "qkv", "heads", "head_features"), ("qkv", "heads", "head_features")
                ),
            ),
            y,
        )
        query, key, value = (qkv[:, :, i] for i in range(3))
        query, key = rotate(query, positions), rotate(key, positions)
        if cache is None:
            attended: Any
            if self.implementation == "cudnn" and mask is not None:
                attended = fused_attention(query, key, value, mask)
            else:
                attended = jax.nn.dot_product_attention(
                    query, key, value, mask=mask, implementation=self.implementation
                )
            y = attended
            if self.return_cache:
                cache = keys_values(key, value)
        else:
            assert mask is not None  # of the columns written so far
            new = keys_values(key, value)
            if isinstance(cache, BeamKeysValues):
                cache = write_beams(cache, new, column)
                y = attend_beams(query, cache, mask)
            else:
                write = jax.lax.dynamic_update_slice_in_dim
                cache = KeysValues(
                    *(write(*x, column, axis=3) for x in zip(cache, new, strict=True))
                )
                y = attend(query, cache, mask)
        out_names = named_dense(("heads", "head_features", "features"), ("features",))
        out = nn.DenseGeneral(
            self.features, axis=(-2, -1), dtype=self.dtype, name="out", **out_names
        )
        y = by_position(out, y)
        x = by_rows(x + LockedDropout(self.dropout)(y, texts, train=self.train), self.rows)
        if source is not None:
            y = _LayerNorm(dtype=self.dtype, name="source_norm", **named_norm())(x)
            source_query = nn.DenseGeneral(
                (self.heads, size),
                dtype=self.dtype,
                name="source_query",
                **named_dense(("features", "heads", "head_features"), ("heads", "head_features")),
            )
            y = attend(by_position(source_query, y), *source)
            out = nn.DenseGeneral(
                self.features, axis=(-2, -1), dtype=self.dtype, name="source_out", **out_names
            )
            y = by_position(out, y)
            x = by_rows(x + LockedDropout(self.dropout)(y, texts, train=self.train), self.rows)
        y = _LayerNorm(dtype=self.dtype, name="feed_forward_norm", **named_norm())(x)
        up_names = named_dense(("features", "feed_forward"), ("feed_forward",))
        up = nn.Dense(self.feed_forward, dtype=self.dtype, name="up", **up_names)
        down_names = named_dense(("feed_forward", "features"), ("features",))
        down = nn.Dense(self.features, dtype=self.dtype, name="down", **down_names)
        y = by_position(down, _gelu(by_position(up, y)))
        return x + LockedDropout(self.dropout)(y, texts, train=self.train), cache


class TransformerEncoder(nn.Module):
    """A stack of pre-norm layers over the same parameters for every input group's mask.

    The layers are one scanned layer with stacked parameters, so that compile time does not grow
    with depth.

    Attributes:
      features: width ``D``, a multiple of twice ``heads``.
      layers: number of layers.
      heads: attention heads.
      feed_forward: width of the feed-forward block.
      dropout: probability that a feature of a residual branch is dropped.
      remat: what each layer computes again in the backward pass instead of keeping it: 'none',
        'full' (all) or 'dots' (all but the products with parameters).
      implementation: of ``jax.nn.dot_product_attention``: None (chosen by JAX), 'xla' or 'cudnn'.
      dtype: dtype of the computation; parameters stay float32.
      rows: how the rows of activations are split among devices; None to leave that to XLA.
      unroll: layers that each pass of the loop has. All of them, without a loop, take a third less
        time and half the memory on a GPU, and twice the time to compile.
    """

    features: int
    layers: int
    heads: int
    feed_forward: int
    dropout: float = 0.0
    remat: Remat = "none"
    implementation: Implementation | None = None
    dtype: DTypeLike = jnp.float32
    rows: NamedSharding | None = None
    unroll: int = 1

    def setup(self) -> None:
        """Name the parts around the layers, and the layers of `decode_step`."""
        if self.features % (2 * self.heads):
            raise ValueError(
                f"features must be a multiple of 2 * heads, got {self.features} and {self.heads}"
            )
        # Without parameters where what is read has the width of the layers already.
        names = named_dense(("embedding", "features"), ("features",))
        self.project = nn.Dense(self.features, dtype=self.dtype, **names)
        self.final_norm = nn.LayerNorm(dtype=self.dtype, **named_norm())
        # A loop over stacked layers would copy their parameters and caches at every token.
        self.single_layers = [
            TransformerLayer(
                **self._shape(), implementation=None, train=False, name=f"{SINGLE_LAYER}{i}"
            )
            for i in range(self.layers)
        ]

    def __call__(
        self,
        x: jax.Array,
        segments: jax.Array | None,
        positions: jax.Array,
        texts: jax.Array | None = None,
        *,
        causal: bool,
        train: bool,
        source: jax.Array | None = None,
    ) -> jax.Array:
        """Encode packed segments.

        Args:
          x: ``[R, S, E]``, what is read.
          segments: ``[R, S]``, see `attention_mask`. None where each row is one text, from its
            first position to its last: what reads in both directions then needs no mask, which
            costs fused attention time.
          positions: ``[R, S]``, positions within the segment.
          texts: ``[R, S]``, positions that share a dropout mask; None for one mask a row.
          causal: see `attention_mask`.
          train: whether dropout is on.
          source: bool ``[R, S]``, see `attention_mask`.

        Returns:
          ``[R, S, D]``.
        """
        mask = None
        if segments is None and (causal or source is not None):
            segments = jnp.ones(x.shape[:2], jnp.int32)
        if segments is not None:
            mask = attention_mask(segments, causal=causal, source=source)
        hidden, _ = self._scan_layers(x, mask, positions, texts, train=train, return_cache=False)
        return hidden

    def prefill(
        self,
        x: jax.Array,
        segments: jax.Array,
        positions: jax.Array,
        *,
        causal: bool,
        source: jax.Array | None = None,
        room: int,
    ) -> tuple[jax.Array, tuple[KeysValues, ...]]:
        """Encode prompts, and return what `decode_step` continues from.

        Args:
          x: ``[R, L, E]``, what is read.
          segments: as of a call, as are `positions`, `causal` and `source`.
          positions: ``[R, L]``.
          causal: whether a position sees none after it.
          source: bool ``[R, L]``.
          room: columns that the caches have after those of the prompts, for tokens to follow.

        Returns:
          ``[R, L, D]``, and the `KeysValues` of each layer, of ``L + room`` columns.
        """
        mask = attention_mask(segments, causal=causal, source=source)
        hidden, stacked = self._scan_layers(
            x, mask, positions, None, train=False, return_cache=True
        )
        free = ((0, 0), (0, 0), (0, 0), (0, room))
        return hidden, tuple(
            KeysValues(*(jnp.pad(x, free) for x in cache))
            for cache in unstacked(stacked, self.layers)
        )

    def decode_step(
        self,
        x: jax.Array,
        mask: jax.Array,
        positions: jax.Array,
        caches: Sequence[KeysValues | BeamKeysValues],
        column: jax.Array,
    ) -> tuple[jax.Array, tuple[KeysValues | BeamKeysValues, ...]]:
        """Encode one more position a row; its parameters are those of `single_layers`.

        Args:
          x: ``[R, 1, E]``, what is read.
          mask: bool ``[R, 1, 1, C]``, the columns that it sees, its own among them; of a beam
            search from `beam_mask`.
          positions: int32 ``[R, 1]``, its position in the text.
          caches: of every layer.
          column: int32 scalar, where its own keys and values are written.

        Returns:
          ``[R, 1, D]``, and the new caches.
        """
        x, written = self._projected(x), []
        for layer, cache in zip(self.single_layers, caches, strict=True):
            x, cache = layer(x, mask, positions, None, cache, column)
            written.append(cache)
        return self.final_norm(x), tuple(written)

    @nn.compact
    def _scan_layers(
        self,
        x: jax.Array,
        mask: jax.Array | None,
        positions: jax.Array,
        texts: jax.Array | None,
        *,
        train: bool,
        return_cache: bool,
    ) -> tuple[jax.Array, Any]:
        x = self._projected(x)
        layer = TransformerLayer
        if self.remat != "none":
            layer = nn.remat(layer, prevent_cse=False, policy=_KEPT[self.remat])
        stack = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(nn.broadcast,) * 3,  # pyright: ignore[reportArgumentType]
            length=self.layers,
            unroll=self.unroll,
            metadata_params={nn.PARTITION_NAME: LAYERS},
        )(
            **self._shape(),
            implementation=self.implementation,
            train=train,
            rows=self.rows,
            return_cache=return_cache,
            name=LAYERS,
        )
        x, caches = stack(x, mask, positions, texts)
        return self.final_norm(x), caches

    def _projected(self, x: jax.Array) -> jax.Array:
        return (self.project(x) if x.shape[-1] != self.features else x).astype(self.dtype)

    def _shape(self) -> dict[str, Any]:
        names = ("features", "heads", "feed_forward", "dropout", "dtype")
        return {name: getattr(self, name) for name in names}


def unstacked(tree: Any, count: int) -> tuple[Any, ...]:
    """Arrays of ``count`` layers that are stacked along their first axis, layer by layer."""
    return tuple(jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(count))


def unstack_layers(params: Any, count: int) -> dict[str, Any]:
    """The parameters of a `TransformerEncoder` of ``count`` layers as `decode_step` reads them."""
    rest = {name: leaf for name, leaf in params.items() if name != LAYERS}
    layers = unstacked(params[LAYERS], count)
    return rest | {f"{SINGLE_LAYER}{i}": layer for i, layer in enumerate(layers)}
