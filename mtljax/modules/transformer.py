"""The transformer encoder over packed rows: pre-norm, rotary positions, scanned over layers."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from mtljax.modules.dropout import LockedDropout
from mtljax.modules.rows import by_rows

Implementation = Literal["xla", "cudnn"]
Remat = Literal["none", "full", "dots"]

_KEPT = {
    "full": jax.checkpoint_policies.nothing_saveable,
    # Products with parameters have no batch axis; those of attention, which are large, have.
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def attention_mask(segments: jax.Array, *, causal: bool) -> jax.Array:
    """Which positions see which: ``[R, S]`` segments to ``[R, 1, S, S]`` bool.

    A position sees the positions of its own segment, in ``causal`` mode only those not after it.
    Padding (segment 0) sees padding, so that no row of the softmax is empty; what comes out there
    is finite and never counted.
    """
    same = segments[:, :, None] == segments[:, None, :]
    if causal:
        size = segments.shape[1]
        same = same & (jnp.arange(size)[:, None] >= jnp.arange(size)[None, :])
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


class TransformerLayer(nn.Module):
    """One pre-norm layer: self-attention, then a feed-forward block, each with a residual."""

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
        self, x: jax.Array, mask: jax.Array, positions: jax.Array, texts: jax.Array | None
    ) -> tuple[jax.Array, None]:
        """Map ``x`` ``[R, S, D]`` to the same shape (and nothing to collect, for ``nn.scan``)."""
        size = self.features // self.heads
        x = by_rows(x, self.rows)
        y = nn.LayerNorm(dtype=self.dtype, name="attention_norm")(x)
        qkv = nn.DenseGeneral((3, self.heads, size), dtype=self.dtype, name="qkv")(y)
        query, key, value = (qkv[:, :, i] for i in range(3))
        y = jax.nn.dot_product_attention(
            rotate(query, positions),
            rotate(key, positions),
            value,
            mask=mask,
            implementation=self.implementation,
        )
        y = nn.DenseGeneral(self.features, axis=(-2, -1), dtype=self.dtype, name="out")(y)
        x = by_rows(x + LockedDropout(self.dropout)(y, texts, train=self.train), self.rows)
        y = nn.LayerNorm(dtype=self.dtype, name="feed_forward_norm")(x)
        y = nn.gelu(nn.Dense(self.feed_forward, dtype=self.dtype, name="up")(y))
        y = nn.Dense(self.features, dtype=self.dtype, name="down")(y)
        return x + LockedDropout(self.dropout)(y, texts, train=self.train), None


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

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        segments: jax.Array,
        positions: jax.Array,
        texts: jax.Array | None = None,
        *,
        causal: bool,
        train: bool,
    ) -> jax.Array:
        """Encode ``x`` ``[R, S, E]`` of packed segments as ``[R, S, D]``.

        With ``texts`` ``[R, S]`` each text has a dropout mask of its own, else each row.
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
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=(nn.broadcast,) * 3,  # pyright: ignore[reportArgumentType]
            length=self.layers,
        )(
            features=self.features,
            heads=self.heads,
            feed_forward=self.feed_forward,
            dropout=self.dropout,
            dtype=self.dtype,
            implementation=self.implementation,
            train=train,
            rows=self.rows,
            name="layers",
        )
        x, _ = stack(
            x.astype(self.dtype), attention_mask(segments, causal=causal), positions, texts
        )
        return nn.LayerNorm(dtype=self.dtype, name="final_norm")(x)
