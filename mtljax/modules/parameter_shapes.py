"""Which parameters modules have, without making them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtljax.modules.config import Attention
from mtljax.modules.decoder import DecoderHead
from mtljax.modules.encoder import Encoder
from mtljax.modules.heads import Features


def encoder_parameters(encoder: Encoder, attention: Attention = "bidirectional") -> tuple[Any, Any]:
    """What the parameters of an encoder are, without making them.

    Args:
      encoder: the module.
      attention: some attention that it can serve.

    Returns:
      Two trees: of their shapes and dtypes, and of the names of their dimensions, None for one
      without.
    """
    batch = {name: jnp.zeros((1, 2), jnp.int32) for name in ("tokens", "segments", "positions")}
    columns = bool(encoder.affix_buckets) + -(-encoder.characters // 4)
    if columns:
        batch["affixes"] = jnp.zeros((1, 2, columns), jnp.int32)
    variables: Any = jax.eval_shape(
        lambda key: encoder.init(key, batch, attention=attention, train=False),
        jax.random.key(0),
    )
    boxed = variables["params"]

    def names(leaf: Any) -> Any:
        return leaf.names if isinstance(leaf, nn.Partitioned) else None

    axes = jax.tree.map(names, boxed, is_leaf=lambda node: isinstance(node, nn.Partitioned))
    return nn.unbox(boxed), axes


def decoder_parameters(decoder: DecoderHead, encoder: Encoder) -> Any:
    """The shapes and dtypes of the parameters of a decoder of an encoder, without making them."""
    c, rows = encoder.config, (1, 2)
    features = Features(
        jnp.zeros((*rows, decoder.features)),
        jnp.zeros((*rows, c.embedding)),
        jnp.zeros((encoder.vocabulary_size, c.embedding)),
        jnp.ones(rows, jnp.int32),
        jnp.ones(rows, bool),
    )
    ids = jnp.zeros(decoder.outputs, jnp.int32)
    variables: Any = jax.eval_shape(
        lambda key: decoder.init(key, features, ids, train=False), jax.random.key(0)
    )
    return nn.unbox(variables["params"])
