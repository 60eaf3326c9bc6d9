"""The transformer encoder over packed rows: pre-norm, rotary positions, scanned over layers."""

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from mtljax.modules.beam_cache import Branches, attend_branches, write_branches
from mtljax.modules.by_position import by_position
from mtljax.modules.dropout import LockedDropout
from mtljax.modules.fused_attention import fused_attention
from mtljax.modules.keys_values import KeysValues, attend, keys_values
from mtljax.modules.packed_rows import by_rows

Implementation = Literal["xla", "cudnn"]
Remat = Literal["none", "full", "dots"]

_KEPT = {
    "full": jax.checkpoint_policies.nothing_saveable,
    # Products with parameters have no batch axis; those of attention, which are large, have.
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def attention_mask(
    segments: jax.Array, *, causal: bool, source: jax.Array | None = None
) -> jax.Array:
    """Which positions see which: ``[R, S]`` segments to ``[R, 1, S, S]`` bool.

    A position sees the positions of its own segment, in ``causal`` mode only those not after it,
    and those of ``source`` ``[R, S]`` bool wherever they are (a prefix language model; Raffel et
    al. 2020, figure 4).
    Padding (segment 0) sees padding, so that no row of the softmax is empty; what comes out there
    is finite and never counted.
    """
    same = segments[:, :, None] == segments[:, None, :]
    if causal:
        size = segments.shape[1]
        seen = jnp.arange(size)[:, None] >= jnp.arange(size)[None, :]
        same = same & (seen if source is None else seen | source[:, None, :])
    return same[:, None]


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

    Where the collection ``cache`` may be written, it gets the layer's keys and values as
    ``past``, in the order ``[R, S, heads, size]``.
    """

    features: int
    heads: int
    feed_forward: int
    dropout: float
    dtype: DTypeLike
    implementation: Implementation | None
    train: bool
    rows: NamedSharding | None = None

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | None,
        positions: jax.Array,
        texts: jax.Array | None,
        past: KeysValues | Branches | None = None,
        column: jax.Array | int = 0,
        source: tuple[KeysValues, jax.Array] | None = None,
    ) -> tuple[jax.Array, KeysValues | Branches | None]:
        """Map ``x`` ``[R, S, D]`` to the same shape.

        With ``past`` of C columns the positions are written there, from ``column`` on, and see the
        columns of ``mask`` ``[R, 1, S, C]``, or of `seen_branches`; it is returned. Without,
        nothing is, as ``nn.scan`` would stack it. With ``source`` they attend to another text too,
        between the two blocks: its keys and values, and a mask of its columns.
        """
        size = self.features // self.heads
        x = by_rows(x, self.rows)
        y = _LayerNorm(dtype=self.dtype, name="attention_norm")(x)
        qkv = by_position(nn.DenseGeneral((3, self.heads, size), dtype=self.dtype, name="qkv"), y)
        query, key, value = (qkv[:, :, i] for i in range(3))
        query, key = rotate(query, positions), rotate(key, positions)
        if past is None:
            attended: Any
            if self.implementation == "cudnn" and mask is not None:
                attended = fused_attention(query, key, value, mask)
            else:
                attended = jax.nn.dot_product_attention(
                    query, key, value, mask=mask, implementation=self.implementation
                )
            y = attended
            if not self.is_initializing():
                own = KeysValues(key, value)
                self.sow("cache", "past", own, init_fn=lambda: own, reduce_fn=lambda _, new: new)
        else:
            assert mask is not None  # of the columns written so far
            own = keys_values(key, value)
            if isinstance(past, Branches):
                past = write_branches(past, own, column)
                y = attend_branches(query, past, mask)
            else:
                write = jax.lax.dynamic_update_slice_in_dim
                past = KeysValues(*(write(*x, column, axis=3) for x in zip(past, own, strict=True)))
                y = attend(query, past, mask)
        out = nn.DenseGeneral(self.features, axis=(-2, -1), dtype=self.dtype, name="out")
        y = by_position(out, y)
        x = by_rows(x + LockedDropout(self.dropout)(y, texts, train=self.train), self.rows)
        if source is not None:
            y = _LayerNorm(dtype=self.dtype, name="source_norm")(x)
            ask = nn.DenseGeneral((self.heads, size), dtype=self.dtype, name="source_query")
            y = attend(by_position(ask, y), *source)
            out = nn.DenseGeneral(self.features, axis=(-2, -1), dtype=self.dtype, name="source_out")
            y = by_position(out, y)
            x = by_rows(x + LockedDropout(self.dropout)(y, texts, train=self.train), self.rows)
        y = _LayerNorm(dtype=self.dtype, name="feed_forward_norm")(x)
        y = _gelu(by_position(nn.Dense(self.feed_forward, dtype=self.dtype, name="up"), y))
        y = by_position(nn.Dense(self.features, dtype=self.dtype, name="down"), y)
        return x + LockedDropout(self.dropout)(y, texts, train=self.train), past


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

    @nn.compact
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
        """Encode ``x`` ``[R, S, E]`` of packed segments as ``[R, S, D]``.

        Without ``segments`` each row is one text, from its first position to its last: what reads
        in both directions then needs no mask, which costs fused attention time.
        ``causal`` and ``source`` are those of `attention_mask`. With ``texts`` ``[R, S]`` each text
        has a dropout mask of its own, else each row.
        """
        if self.features % (2 * self.heads):
            raise ValueError(
                f"features must be a multiple of 2 * heads, got {self.features} and {self.heads}"
            )
        if x.shape[-1] != self.features:
            x = nn.Dense(self.features, dtype=self.dtype, name="project")(x)
        layer = TransformerLayer
        if self.remat != "none":
            layer = nn.remat(layer, prevent_cse=False, policy=_KEPT[self.remat])
        stack = nn.scan(
            layer,
            variable_axes={"params": 0, "cache": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(nn.broadcast,) * 3,  # pyright: ignore[reportArgumentType]
            length=self.layers,
            unroll=self.unroll,
        )(
            **_settings(self),
            implementation=self.implementation,
            train=train,
            rows=self.rows,
            name="layers",
        )
        mask = None
        if segments is None and (causal or source is not None):
            segments = jnp.ones(x.shape[:2], jnp.int32)
        if segments is not None:
            mask = attention_mask(segments, causal=causal, source=source)
        x, _ = stack(x.astype(self.dtype), mask, positions, texts)
        return nn.LayerNorm(dtype=self.dtype, name="final_norm")(x)


def read_one(
    encoder: TransformerEncoder,
    params: Any,
    x: jax.Array,
    mask: jax.Array,
    positions: jax.Array,
    past: Sequence[KeysValues | Branches],
    column: jax.Array,
) -> tuple[jax.Array, tuple[KeysValues | Branches, ...]]:
    """Encode one more position a row.

    The layers stand one after another, each with parameters and a cache of its own: a loop over
    stacked ones would copy both.

    Args:
      encoder: the module.
      params: its parameters, those of the layers from `unstacked`.
      x: ``[R, 1, E]``, what is read.
      mask: bool ``[R, 1, 1, C]``, the columns that it sees, its own among them; of branches from
        `seen_branches`.
      positions: int32 ``[R, 1]``, its position in the text.
      past: the `KeysValues`, or `Branches`, of every layer.
      column: int32 scalar, where its own are written.

    Returns:
      ``[R, 1, D]``, and the new past.
    """
    y: Any = x
    if "project" in params:
        y = nn.Dense(encoder.features, dtype=encoder.dtype).apply({"params": params["project"]}, y)
    layer = TransformerLayer(**_settings(encoder), implementation=None, train=False)
    y, kept = y.astype(encoder.dtype), []
    for own, before in zip(params["layers"], past, strict=True):
        y, after = layer.apply({"params": own}, y, mask, positions, None, before, column)
        kept.append(after)
    y = nn.LayerNorm(dtype=encoder.dtype).apply({"params": params["final_norm"]}, y)
    return y, tuple(kept)


def unstacked(params: Any, count: int) -> tuple[Any, ...]:
    """The stacked parameters of ``count`` layers, layer by layer."""
    return tuple(jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(count))


def _settings(encoder: TransformerEncoder) -> dict[str, Any]:
    names = ("features", "heads", "feed_forward", "dropout", "dtype")
    return {name: getattr(encoder, name) for name in names}
