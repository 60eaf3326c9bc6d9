"""The transformer encoder over packed rows, scanned over layers; pre-norm and rotary by default."""

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from mtljax.modules.added_rows import AddedRows
from mtljax.modules.architecture import DEFAULT, Architecture, head_size, is_local
from mtljax.modules.attention_mask import window_mask
from mtljax.modules.beam_cache import BeamKeysValues
from mtljax.modules.by_position import ADAPTERS
from mtljax.modules.disentangled import DistanceTable
from mtljax.modules.dropout import Masked
from mtljax.modules.keys_values import KeysValues
from mtljax.modules.named_axes import named_dense
from mtljax.modules.norms import make_norm
from mtljax.modules.packed_mask import PackedMask, packed_mask, seen_by
from mtljax.modules.relative import RelativeBias
from mtljax.modules.self_attention import Implementation, LongImplementation, implementation_for
from mtljax.modules.transformer_layer import LayerKind, Masks, TransformerLayer

Remat = Literal["none", "full", "dots"]

LAYERS, SINGLE_LAYER = "layers", "layer_"
"""Names among the parameters: of all layers, stacked, and of the axis along which they are; of a
single layer, before its number."""

_KEPT = {
    "full": jax.checkpoint_policies.nothing_saveable,
    # Products with parameters have no batch axis; those of attention, which are large, have.
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class TransformerEncoder(nn.Module):
    """A stack of layers over the same parameters for every input group's mask.

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
      implementation: of the attention: None (by the length of a row), 'xla', 'cudnn' or 'blocks'.
      dtype: dtype of the computation; parameters stay float32.
      rows: how the rows of activations are split among devices; None to leave that to XLA.
      unroll: layers that each pass of the loop has. All of them, without a loop, take a third less
        time and half the memory on a GPU, and twice the time to compile.
      architecture: what the layers are made of, and what is added to what they read.
      long: implementation for rows of 2,048 positions and more, where `implementation` is None.
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
    architecture: Architecture = DEFAULT
    long: LongImplementation = "blocks"

    def setup(self) -> None:
        """Name the parts around the layers, and the layers of `decode_step`."""
        a = self.architecture
        head_size(a, self.features, self.heads)
        if a.token_types:
            self.token_types = AddedRows(a.token_types)
        if a.positions == "learned":
            self.positions = AddedRows(a.max_positions)
        if a.positions == "disentangled":
            self.distances = DistanceTable(a, self.features, self.dtype)
        if a.positions == "relative":
            self.relative = RelativeBias(a, self.heads)
        if a.embedding_norm:
            self.embedding_norm = make_norm(a, self.dtype)
        # Without parameters where what is read has the width of the layers already.
        names = named_dense(("embedding", "features"), ("features",))
        self.project = nn.Dense(self.features, dtype=self.dtype, **names)
        if a.norm_placement != "after":
            self.final_norm = make_norm(a, self.dtype, remat=False)
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
        masked: Masked | None = None,
        *,
        causal: bool | jax.Array,
        train: bool,
        source: jax.Array | None = None,
        types: jax.Array | None = None,
    ) -> jax.Array:
        """Encode packed segments.

        Args:
          x: ``[R, S, E]``, what is read.
          segments: ``[R, S]``, see `attention_mask`. None where each row is one text, from its
            first position to its last: what reads in both directions then needs no mask, which
            costs fused attention time.
          positions: ``[R, S]``, positions within the segment.
          masked: what has dropout masks of its own; None for rows 0 to R - 1.
          causal: see `attention_mask`.
          train: whether dropout is on.
          source: bool ``[R, S]``, see `attention_mask`.
          types: ``[R, S]``, token types, where the architecture has them; None for type 0.

        Returns:
          ``[R, S, D]``.
        """
        mask = None
        if segments is None and (causal is not False or source is not None or self._windows):
            segments = jnp.ones(x.shape[:2], jnp.int32)
        if segments is not None:
            mask = self._mask(segments, causal, source)
        hidden, _ = self._scan_layers(
            x, mask, positions, masked, types, train=train, return_cache=False
        )
        return hidden

    def prefill(
        self,
        x: jax.Array,
        segments: jax.Array,
        positions: jax.Array,
        *,
        causal: bool,
        source: jax.Array | None = None,
        types: jax.Array | None = None,
        room: int,
    ) -> tuple[jax.Array, tuple[KeysValues, ...]]:
        """Encode prompts, and return what `decode_step` continues from.

        Args:
          x: ``[R, L, E]``, what is read.
          segments: as of a call, as are `positions`, `causal` and `source`.
          positions: ``[R, L]``.
          causal: whether a position sees none after it.
          source: bool ``[R, L]``.
          types: ``[R, L]``.
          room: columns that the caches have after those of the prompts, for tokens to follow.

        Returns:
          ``[R, L, D]``, and the `KeysValues` of each layer, of ``L + room`` columns.
        """
        mask = self._mask(segments, causal, source)
        hidden, stacked = self._scan_layers(
            x, mask, positions, None, types, train=False, return_cache=True
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
        types: jax.Array | None = None,
    ) -> tuple[jax.Array, tuple[KeysValues | BeamKeysValues, ...]]:
        """Encode one more position a row; its parameters are those of `single_layers`.

        Args:
          x: ``[R, 1, E]``, what is read.
          mask: bool ``[R, 1, 1, C]``, the columns that it sees, its own among them; of a beam
            search from `beam_mask`.
          positions: int32 ``[R, 1]``, its position in the text.
          caches: of every layer.
          column: int32 scalar, where its own keys and values are written.
          types: ``[R, 1]``, its token type; None for type 0.

        Returns:
          ``[R, 1, D]``, and the new caches.

        Raises:
          ValueError: if positions are disentangled.
        """
        if self.architecture.positions == "disentangled":
            raise ValueError("positions: disentangled ones are read in whole rows alone")
        x, written = self._read(x, positions, types), []
        # Of beams there are several in each column.
        beams = mask.shape[1] if isinstance(caches[0], BeamKeysValues) else 1
        columns = jnp.arange(mask.shape[-1]) // beams
        near, bias = mask, None
        if self._windows:
            near = mask & (columns >= column - self.architecture.window)
        if self.architecture.positions == "relative":
            bias = self.relative(jnp.asarray(column)[None], columns)
        kinds = zip(self.single_layers, caches, self._local, strict=True)
        for i, (layer, cache, local) in enumerate(kinds):
            kind = LayerKind(local, i == 0)
            x, cache = layer(x, near if local else mask, positions, None, kind, bias, cache, column)
            written.append(cache)
        return self._after_layers(x), tuple(written)

    @property
    def _local(self) -> tuple[bool, ...]:
        return is_local(self.architecture, self.layers)

    @property
    def _windows(self) -> bool:
        return any(self._local)

    def _mask(
        self, segments: jax.Array, causal: bool | jax.Array, source: jax.Array | None
    ) -> jax.Array | PackedMask:
        """What positions see: of rows that are read in blocks as data, of others once for all."""
        window = self.architecture.window if self._windows else 0
        mask = packed_mask(segments, causal=causal, source=source, window=window)
        held = self._implementation(segments.shape[1]) in ("xla", "cudnn")
        return seen_by(mask) if held else mask

    def _implementation(self, size: int) -> Implementation:
        return implementation_for(size, self.implementation, self.architecture, self.long)

    @nn.compact
    def _scan_layers(
        self,
        x: jax.Array,
        mask: jax.Array | PackedMask | None,
        positions: jax.Array,
        masked: Masked | None,
        types: jax.Array | None,
        *,
        train: bool,
        return_cache: bool,
    ) -> tuple[jax.Array, Any]:
        x = self._read(x, positions, types)
        layer, masks = TransformerLayer, mask
        if self._windows and not isinstance(mask, PackedMask):
            assert mask is not None
            masks = Masks(mask, mask & window_mask(x.shape[1], self.architecture.window))
        if self.remat != "none":
            layer = nn.remat(layer, prevent_cse=False, policy=_KEPT[self.remat])
        # Where all layers are alike there is nothing to be told of each.
        told: Any = ()
        in_axes: Any = (nn.broadcast,) * 3
        if self._windows or not self.architecture.first_norm:
            first = jnp.arange(self.layers) == 0
            told, in_axes = (LayerKind(jnp.asarray(self._local), first),), (*in_axes, 0)
        if self.architecture.positions in ("disentangled", "relative"):
            columns = jnp.arange(x.shape[1])
            relative = self.architecture.positions == "relative"
            distances = self.relative(columns, columns) if relative else self.distances()
            told = (*(told or (None,)), distances)
            in_axes = (*in_axes[:3], 0 if told[0] else nn.broadcast, nn.broadcast)
        stack = nn.scan(
            layer,
            variable_axes={"params": 0, ADAPTERS: 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=in_axes,
            length=self.layers,
            unroll=self.unroll,
            metadata_params={nn.PARTITION_NAME: LAYERS},
        )(
            **self._shape(),
            implementation=self._implementation(x.shape[1]),
            train=train,
            rows=self.rows,
            return_cache=return_cache,
            name=LAYERS,
        )
        x, caches = stack(x, masks, positions, masked, *told)
        return self._after_layers(x), caches

    def _after_layers(self, x: jax.Array) -> jax.Array:
        return x if self.architecture.norm_placement == "after" else self.final_norm(x)

    def _read(self, x: jax.Array, positions: jax.Array, types: jax.Array | None) -> jax.Array:
        """What the first layer reads: words with their positions and types, as wide as layers."""
        a = self.architecture
        if a.token_types:
            x = self.token_types(x, jnp.zeros_like(positions) if types is None else types)
        if a.positions == "learned":
            x = self.positions(x, positions + a.position_offset)
        if a.embedding_norm:
            x = self.embedding_norm(x)
        return (self.project(x) if x.shape[-1] != self.features else x).astype(self.dtype)

    def _shape(self) -> dict[str, Any]:
        names = ("features", "heads", "feed_forward", "dropout", "dtype", "architecture")
        return {name: getattr(self, name) for name in names}


def unstacked(tree: Any, count: int) -> tuple[Any, ...]:
    """Arrays of ``count`` layers that are stacked along their first axis, layer by layer."""
    return tuple(jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(count))


def unstack_layers(params: Any, count: int) -> dict[str, Any]:
    """The parameters of a `TransformerEncoder` of ``count`` layers as `decode_step` reads them."""
    rest = {name: leaf for name, leaf in params.items() if name != LAYERS}
    layers = unstacked(params[LAYERS], count)
    return rest | {f"{SINGLE_LAYER}{i}": layer for i, layer in enumerate(layers)}
