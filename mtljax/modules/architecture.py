"""What a transformer is made of, as fields: families of models differ in these alone."""

import dataclasses
from typing import Literal

from mtljax.ranges import at_least, positive, size

Span = Literal["global", "local"]
"""Whether a layer sees whole texts, or a window of them."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The parts of a transformer's layers, and of what they read.

    Attributes:
      norm: 'layer', layer norm (Ba et al. 2016), or 'rms', its scale alone (Zhang and Sennrich
        2019).
      norm_placement: 'before' each block, with one more after the last layer; 'after' each residual
        sum (Vaswani et al. 2017); 'around': before each block, and after it on its branch.
      norm_eps: what is added to the variance.
      norm_bias: whether layer norms have a bias.
      fast_variance: whether layer norms take the variance in one pass, with the mean, which loses
        digits where the mean is large.
      first_norm: whether the first layer has a norm before its attention.
      embedding_norm: whether what the first layer reads is normalized.
      embedding_scale: factor of the word vectors; 0 for the root of their width.
      positions: 'rotary' (Su et al. 2021), 'learned', a vector for each, 'disentangled', queries
        and keys for each distance (He et al. 2021), 'relative', a number for each distance and head
        (Raffel et al. 2020), or 'none'.
      max_positions: rows of the table of learned positions; distances that are told apart.
      position_buckets: of disentangled distances to one side, 0 for one a distance; of relative
        ones, to both sides.
      position_offset: row of the table that the first position of a text reads.
      rotary_base: the longest wavelength is about two pi times as many positions.
      rotary_local_base: the same of local layers; 0 for that of the others.
      rotary_factor: by which positions are divided, but in layers with a base of their own.
      rotary_original: if not 0, positions are divided only for wavelengths above as many positions
        over `rotary_low`, not for those below as many over `rotary_high`, and between by degrees
        (Llama 3.1).
      rotary_low: see `rotary_original`.
      rotary_high: see `rotary_original`.
      token_types: rows of the table of token types: the first text of a pair has type 0, the second
        type 1; 0 for no table.
      head_size: features of an attention head; 0 for the width over the number of heads.
      kv_heads: heads of keys and values, each shared by as many queries; 0 for one a query.
      query_scale: factor of the inner products of queries and keys; 0 for one over the root of the
        head size.
      query_key_norm: whether queries and keys are normalized, by the root mean square of a head.
      qkv_bias: whether queries, keys and values have a bias.
      out_bias: whether the output of the attention has a bias.
      activation: of the feed-forward block: 'gelu', 'gelu_tanh' (its approximation), 'relu' or
        'silu'.
      gated: whether the activation is multiplied with a second product (Shazeer 2020).
      feed_forward_bias: whether the feed-forward block has biases.
      window: positions that local layers see to either side; 0 for all.
      window_pattern: which layers are 'global' and which 'local', repeated over the layers.
    """

    norm: Literal["layer", "rms"] = "layer"
    norm_placement: Literal["before", "after", "around"] = "before"
    norm_eps: float = positive(default=1e-6)
    norm_bias: bool = True
    fast_variance: bool = True
    first_norm: bool = True
    embedding_norm: bool = False
    embedding_scale: float = at_least(0, default=0.0)
    positions: Literal["rotary", "learned", "disentangled", "relative", "none"] = "rotary"
    max_positions: int = size(0, default=0)
    position_buckets: int = size(0, default=0)
    position_offset: int = size(0, default=0)
    rotary_base: float = positive(default=10_000.0)
    rotary_local_base: float = at_least(0, default=0.0)
    rotary_factor: float = positive(default=1.0)
    rotary_original: int = size(0, default=0)
    rotary_low: float = positive(default=1.0)
    rotary_high: float = positive(default=4.0)
    token_types: int = size(0, default=0)
    head_size: int = size(0, default=0)
    kv_heads: int = size(0, default=0)
    query_scale: float = at_least(0, default=0.0)
    query_key_norm: bool = False
    qkv_bias: bool = True
    out_bias: bool = True
    activation: Literal["gelu_tanh", "gelu", "relu", "silu"] = "gelu_tanh"
    gated: bool = False
    feed_forward_bias: bool = True
    window: int = size(0, default=0)
    window_pattern: tuple[Span, ...] = ("global",)


DEFAULT = Architecture()


def head_size(architecture: Architecture, features: int, heads: int) -> int:
    """Features of an attention head.

    Raises:
      ValueError: if the width does not divide, the size suits no rotary positions, or the heads of
        keys do not divide those of queries.
    """
    a = architecture
    if not a.head_size and features % ((2 if a.positions == "rotary" else 1) * heads):
        times = "2 * " if a.positions == "rotary" else ""
        raise ValueError(f"features must be a multiple of {times}heads, got {features} and {heads}")
    if a.positions == "rotary" and a.head_size % 2:
        raise ValueError(f"head_size must be even with rotary positions, got {a.head_size}")
    if a.positions == "disentangled" and a.kv_heads not in (0, heads):
        raise ValueError("kv_heads: not with disentangled positions")
    if a.kv_heads and heads % a.kv_heads:
        raise ValueError(f"heads must be a multiple of kv_heads, got {heads} and {a.kv_heads}")
    return a.head_size or features // heads


def is_local(architecture: Architecture, layers: int) -> tuple[bool, ...]:
    """Which layers see a window alone.

    >>> is_local(Architecture(window=2, window_pattern=("global", "local")), 3)
    (False, True, False)
    """
    pattern = architecture.window_pattern
    spans = [pattern[i % len(pattern)] if architecture.window else "global" for i in range(layers)]
    return tuple(span == "local" for span in spans)
