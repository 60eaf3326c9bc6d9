"""The most probable tokens that a pretrained language model writes, from a cache."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.modules.heads import Features
from mtljax.modules.kv_cache_decoding import decode_step, prefill, prepare
from mtljax.modules.network import Network
from mtljax.pretrained.decoder import PretrainedDecoder
from mtljax.pretrained.load import Pretrained


def greedy_tokens(model: Pretrained, prompts: Any, count: int, mask: Any = None) -> jax.Array:
    """Continue prompts with their most probable tokens, or answer them.

    Args:
      model: a causal language model, or one with a decoder, which answers.
      prompts: int ``[B, L]``, ids; of a text to be answered with its marks.
      count: tokens that are written, whatever they are.
      mask: bool ``[B, L]``, where there is a token: a prompt ends at the last column. None for all.

    Returns:
      int32 ``[B, count]``.

    Raises:
      ValueError: if the model is not causal and has no decoder, or has no such many positions.
    """
    prompts = np.asarray(prompts, np.int32)
    if not model.causal and model.decoder is None:
        raise ValueError("model: sees what follows, and writes nothing")
    segments = np.ones_like(prompts) if mask is None else np.asarray(mask, np.int32)
    if not segments[:, -1].all():
        raise ValueError("mask: a prompt must end at the last column")
    if model.max_positions and prompts.shape[1] + count > model.max_positions:
        raise ValueError(f"count: the model has {model.max_positions} positions")
    positions = np.maximum(np.cumsum(segments, axis=1) - 1, 0)
    if model.decoder is not None:
        return _answers(model, model.decoder, prompts, segments, positions, count)
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


def _answers(
    model: Pretrained,
    decoder: PretrainedDecoder,
    prompts: np.ndarray,
    segments: np.ndarray,
    positions: np.ndarray,
    count: int,
) -> jax.Array:
    batch = {"tokens": prompts, "segments": segments, "positions": positions}
    head, encoder = decoder.module, model.module
    ids = jnp.arange(encoder.vocabulary_size, dtype=jnp.int32)

    @jax.jit
    def run(params: Any, head_params: Any, batch: Any) -> jax.Array:
        variables = {"params": params}
        features: Any = encoder.apply(variables, batch, attention="bidirectional", train=False)
        features = features._replace(source=batch["segments"] > 0)
        cache: Any = head.apply({"params": head_params}, features, count, method="prefill")

        def step(carry: Any, number: jax.Array) -> Any:
            cache, tokens = carry
            x: Any
            table: Any
            x, table = encoder.apply(variables, tokens[:, None], train=False, method="embed")  # pyright: ignore[reportGeneralTypeIssues]
            read = Features(x, x, table, jnp.ones((len(tokens), 1), jnp.int32))
            readout, cache = head.apply(
                {"params": head_params}, read, ids, cache, number, method="decode_step"
            )  # pyright: ignore[reportGeneralTypeIssues]
            tokens = jnp.argmax(readout.logits()[:, -1], axis=-1).astype(jnp.int32)
            return (cache, tokens), tokens

        first = jnp.full(len(prompts), decoder.start, jnp.int32)
        _, written = jax.lax.scan(step, (cache, first), jnp.arange(count))
        return written.T

    return run(model.params, decoder.params, batch)
