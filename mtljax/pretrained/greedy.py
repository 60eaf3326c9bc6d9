"""The most probable tokens that a pretrained language model writes, from a cache."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.modules.kv_cache_decoding import decode_step, prefill, prepare
from mtljax.modules.network import Network
from mtljax.pretrained.load import Pretrained


def greedy_tokens(model: Pretrained, prompts: Any, count: int, mask: Any = None) -> jax.Array:
    """Continue prompts with their most probable tokens.

    Args:
      model: a causal language model.
      prompts: int ``[B, L]``, ids.
      count: tokens that are written, whatever they are.
      mask: bool ``[B, L]``, where there is a token: a prompt ends at the last column. None for all.

    Returns:
      int32 ``[B, count]``.

    Raises:
      ValueError: if the model is not causal, or has no such many positions.
    """
    prompts = np.asarray(prompts, np.int32)
    if not model.causal:
        raise ValueError("model: sees what follows, and writes nothing")
    segments = np.ones_like(prompts) if mask is None else np.asarray(mask, np.int32)
    if not segments[:, -1].all():
        raise ValueError("mask: a prompt must end at the last column")
    if model.max_positions and prompts.shape[1] + count > model.max_positions:
        raise ValueError(f"count: the model has {model.max_positions} positions")
    positions = np.maximum(np.cumsum(segments, axis=1) - 1, 0)
    network = Network(model.module, {}, {}, {"prompts": "causal"})
    batch = {"tokens": prompts, "segments": segments, "positions": positions}

    def best(hidden: jax.Array, table: jax.Array) -> jax.Array:
        return jnp.argmax(hidden[:, -1] @ table.T, axis=-1).astype(jnp.int32)

    @jax.jit
    def run(params: Any, output: Any, batch: Any) -> jax.Array:
        table = params["embedding"]["words"] if output is None else output
        features, cache = prefill(network, params, "prompts", batch, room=count)
        prepared = prepare(network, params)

        def step(carry: Any, number: jax.Array) -> Any:
            cache, tokens = carry
            features, cache = decode_step(network, prepared, cache, tokens, None, number)
            return (cache, best(features.hidden, table)), tokens

        first = (cache, best(features.hidden, table))
        _, written = jax.lax.scan(step, first, jnp.arange(count))
        return written.T

    return run(model.params, model.output, batch)
