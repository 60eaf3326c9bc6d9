"""Reading token by token with the shared encoder, as plain functions over a parameter tree.

`prepare` the parameters once, `prefill` the prompts, and `decode_step` what follows; of a beam
search, `fork` the rows of the prompts into beams and `choose` those that continue.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtljax.modules.beam_cache import initial_owners, repeat_for_beams
from mtljax.modules.encoder import EncoderCache
from mtljax.modules.heads import Features
from mtljax.modules.network import Network, Params
from mtljax.modules.structures import SHARING, encoder_variables, packed, structure_of
from mtljax.modules.transformer import unstack_layers


def prepare(network: Network, shared: Params) -> Params:
    """The shared parameters as `decode_step` reads them: made once, not for every token.

    Layers of a transformer are taken apart, kernels are cast to the dtype of the computation.

    Args:
      network: from `mtljax.modules.build`.
      shared: `mtljax.modules.shared_and_private`.

    Returns:
      Collections of variables.
    """
    encoder = network.encoder

    def of_collection(params: Any) -> Any:
        prepared = {**params}
        if encoder.config.kind == "transformer" and "transformer" in prepared:
            prepared["transformer"] = unstack_layers(prepared["transformer"], encoder.config.layers)
        for name in ("transformer", "lstm", "dense"):
            if name in prepared:
                prepared[name] = cast_kernels(prepared[name], encoder.dtype)
        return prepared

    variables = encoder_variables(network.sharing, shared)
    prepared = {name: of_collection(params) for name, params in variables.items()}
    if structure_of(network.sharing).output is not None:
        prepared[SHARING] = shared[SHARING]
    return prepared


def cast_kernels(params: Any, dtype: DTypeLike) -> Any:
    """Parameters whose kernels have the dtype of the computation."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf.astype(dtype) if _is_kernel(path) else leaf, params
    )


def _is_kernel(path: Any) -> bool:
    name = jax.tree_util.keystr(path[-1:], simple=True)
    return name == "kernel" or name.endswith("recurrent")


def prefill(
    network: Network, shared: Params, group: str, batch: Mapping[str, Any], room: int
) -> tuple[Features, EncoderCache]:
    """Read some prompts.

    Args:
      network: from `mtljax.modules.build`.
      shared: ``params["shared"]``, as they are.
      group: name of an input group.
      batch: its ``tokens``, ``segments``, ``positions`` (and ``affixes``) ``[R, L]``: one text a
        row, segment 1, that ends at the last column; segment 0 before it.
      room: tokens that will follow at most.

    Returns:
      `Features` of the prompts, and the cache that `decode_step` continues from.

    Raises:
      ValueError: if the encoder is a bidirectional LSTM.
    """
    returned: Any = network.encoder.apply(
        encoder_variables(network.sharing, shared),
        batch,
        attention=network.attention[group],
        room=room,
        method="prefill",
    )
    features, cache = returned
    return packed(network.sharing, shared, features), cache


def decode_step(
    network: Network,
    prepared: Params,
    cache: EncoderCache,
    tokens: jax.Array,
    affixes: jax.Array | None,
    count: jax.Array,
) -> tuple[Features, EncoderCache]:
    """Read one more token a row.

    Args:
      network: from `mtljax.modules.build`.
      prepared: the shared parameters, from `prepare`.
      cache: from `prefill` or the token before.
      tokens: int32 ``[R]``.
      affixes: int32 ``[R, A]``, theirs; None where there are none.
      count: int32 scalar, tokens that were read since the prompts.

    Returns:
      `Features` of these positions ``[R, 1, ...]``, and the new cache.
    """
    returned: Any = network.encoder.apply(
        {name: variables for name, variables in prepared.items() if name != SHARING},
        tokens[:, None],
        None if affixes is None else affixes[:, None],
        cache,
        count,
        method="decode_step",
    )
    features, cache = returned
    return packed(network.sharing, prepared, features), cache


def fork(cache: EncoderCache, beams: int) -> EncoderCache:
    """The cache of a transformer for `beams` beams of each row, next to each other."""
    starts, width = (jnp.repeat(x, beams) for x in (cache.starts, cache.width))
    owners = initial_owners(cache.starts.size, beams, cache.body[0].keys.shape[-1])
    body = tuple(repeat_for_beams(layer, beams) for layer in cache.body)
    return EncoderCache(body, starts, width, owners)


def choose(cache: EncoderCache, parents: jax.Array) -> EncoderCache:
    """The cache of the beams that continue; nothing is copied but `EncoderCache.owners`.

    Args:
      cache: from `fork`, of K beams of P prompts.
      parents: int32 ``[P, K]``, which beam of its prompt each of the new ones continues from.

    Returns:
      The cache of the new beams.
    """
    assert cache.owners is not None
    return cache._replace(owners=jnp.take_along_axis(cache.owners, parents[..., None], axis=1))
