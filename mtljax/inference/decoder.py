"""The compiled functions that generate the text of a task."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.generation import Beams, Decodable, Rows, Sampling, advance, beam_search, begin
from mtljax.modules import (
    DecoderHead,
    Features,
    Readout,
    decoder_decoding,
    kv_cache_decoding,
    predict,
    shared_and_private,
)
from mtljax.modules.config import output_width
from mtljax.modules.network import Params
from mtljax.modules.structures import packed_width
from mtljax.special_tokens import OWN_MARKS, Marks
from mtljax.training.model import Model


class Decoder(NamedTuple):
    """The compiled functions that generate the text of one task.

    Attributes:
      prepare: from parameters to what the others take for them.
      begin: ``(weights, batch, context, keys, limits, first, room) -> Rows``.
      advance: ``(weights, rows, sampling, until, no_repeat_ngram) -> Rows``; donates the rows.
      search: ``(weights, batch, context, limits, length_penalty, repetition_penalty, room, beams,
        returns, no_repeat_ngram) -> Beams``.
      output_ids: int32 ``[V_out]``, the token of each class.
      end: the class that ends a text.
    """

    prepare: Callable[[Params], Any]
    begin: Callable[..., Rows]
    advance: Callable[..., Rows]
    search: Callable[..., Beams]
    output_ids: np.ndarray
    end: int


def make_decoder(model: Model, task: str, affix_table: np.ndarray) -> Decoder:
    """The functions that generate the text of a task.

    Args:
      model: the model.
      task: name of a task whose head predicts the next token.
      affix_table: int32 ``[V, A]``, the affixes of every token.

    Returns:
      A `Decoder`.
    """
    ids = model.layout.outputs[task].ids
    assert ids is not None
    ready = functools.partial(prepare, model, task)
    return compiled(make_decodable(model, task, affix_table), ready, ids, model.layout.marks)


def compiled(
    decodable: Decodable,
    prepare: Callable[[Params], Any],
    output_ids: np.ndarray,
    marks: Marks = OWN_MARKS,
) -> Decoder:
    """A `Decoder` of a model, compiled when its functions are first called.

    Unknown words are never chosen.

    Args:
      decodable: the model.
      prepare: the function from its parameters to the weights that the model takes.
      output_ids: int32 ``[V_out]``, the token of each class, the end mark among them.
      marks: the special ids of the vocabulary.
    """
    end = int(np.flatnonzero(output_ids == marks.end)[0])
    banned = tuple(
        np.flatnonzero((output_ids == marks.unknown) & (output_ids != marks.end)).tolist()
    )

    @functools.partial(jax.jit, static_argnames="room")
    def start(weights, batch, context, keys, limits, first, room: int) -> Rows:
        keys = jax.random.wrap_key_data(keys)
        return begin(decodable, weights, batch, keys, limits, room, context=context, first=first)

    @functools.partial(jax.jit, static_argnames="no_repeat_ngram", donate_argnames="rows")
    def extend(weights, rows: Rows, sampling: Sampling, until, no_repeat_ngram: int) -> Rows:
        return advance(
            decodable,
            weights,
            rows,
            sampling,
            until=until,
            banned=banned,
            ends=(end,),
            no_repeat_ngram=no_repeat_ngram,
        )

    @functools.partial(jax.jit, static_argnames=("room", "beams", "returns", "no_repeat_ngram"))
    def search(
        weights,
        batch,
        context,
        limits,
        length_penalty,
        repetition_penalty,
        room: int,
        beams: int,
        returns: int,
        no_repeat_ngram: int,
    ) -> Beams:
        return beam_search(
            decodable,
            weights,
            batch,
            limits,
            room,
            beams,
            length_penalty=length_penalty,
            returns=returns,
            repetition_penalty=repetition_penalty,
            context=context,
            banned=banned,
            ends=(end,),
            no_repeat_ngram=no_repeat_ngram,
        )

    return Decoder(prepare, start, extend, search, np.asarray(output_ids), end)


def prepare(model: Model, task: str, params: Params) -> dict[str, Any]:
    """What the functions of `make_decodable` take for parameters: made once, read for every token.

    Args:
      model: the model.
      task: name of a task whose head predicts the next token.
      params: parameters.

    Returns:
      The parameters, in the forms that reading a prompt and one more token want.
    """
    network, head = model.network, params["heads"][task]
    c = network.encoder.config
    shared = shared_and_private(network, params, network.specs[task].group)
    width = packed_width(network.sharing, list(network.specs), output_width(c))
    module = network.heads[task]
    own = isinstance(module, DecoderHead) and module.readout == "own"

    @jax.jit
    def read_out(head: Params, words: jax.Array) -> tuple[jax.Array | None, jax.Array]:
        # Compiled, the head's layers are left out, which say nothing here.
        empty = Features(
            jnp.zeros((1, 1, width)),
            jnp.zeros((1, 1, c.embedding)),
            words,
            jnp.ones((1, 1), jnp.int32),
            jnp.ones((1, 1), bool),
        )
        readout = predict(network, head, task, empty, 1)
        assert isinstance(readout, Readout)
        return None if own else readout.table, readout.bias

    # The rows of the table that are classes: not to be looked up again for every token. A table
    # of the head's own is not copied.
    table, bias = read_out(head, params["shared"]["embedding"]["words"])
    if isinstance(module, DecoderHead):
        steps = kv_cache_decoding.cast_kernels(head, network.encoder.dtype)
    else:
        steps = kv_cache_decoding.prepare(network, shared)
    return {
        "params": {"shared": shared, "head": head},
        "steps": steps,
        "table": head["readout"]["table"] if own else table,
        "bias": bias,
    }


def make_decodable(model: Model, task: str, affix_table: np.ndarray) -> Decodable:
    """A task's model as two functions, for `mtljax.generation`.

    Its parameters are those of `prepare`, its prompts a batch of rows as
    `mtljax.modules.kv_cache_decoding.prefill` wants them.

    Args:
      model: the model.
      task: name of a task whose head predicts the next token.
      affix_table: int32 ``[V, A]``, the affixes of every token.

    Returns:
      A `Decodable` over the task's classes.
    """
    network, group = model.network, model.layout.group_of(task).name
    ids = np.asarray(model.layout.outputs[task].ids, np.int32)

    decoder = isinstance(network.heads[task], DecoderHead)

    def read_out(weights: Any, readout: Any) -> jax.Array:
        return readout._replace(table=weights["table"], bias=weights["bias"]).logits()[:, 0]

    def logits(weights: Any, features: Features) -> jax.Array:
        readout = predict(network, weights["params"]["head"], task, features, 1)
        return read_out(weights, readout)

    def prefill(weights: Any, batch: Any, room: int) -> tuple[Any, jax.Array]:
        shared = weights["params"]["shared"]
        if decoder:
            head = weights["steps"]
            readout, cache = decoder_decoding.prefill(network, shared, head, task, batch, room)
            return cache, read_out(weights, readout)
        features, cache = kv_cache_decoding.prefill(network, shared, group, batch, room)
        last = {
            name: getattr(features, name)[:, -1:] for name in ("hidden", "embedded", "segments")
        }
        return cache, logits(weights, features._replace(**last))

    def step(weights: Any, cache: Any, classes: jax.Array, count: jax.Array) -> Any:
        tokens = jnp.asarray(ids)[classes]
        affixes = jnp.asarray(affix_table)[tokens] if affix_table.shape[-1] else None
        if decoder:
            shared, head = weights["params"]["shared"], weights["steps"]
            readout, cache = decoder_decoding.decode_step(
                network, shared, head, task, cache, tokens, affixes, count
            )
            return cache, read_out(weights, readout)
        features, cache = kv_cache_decoding.decode_step(
            network, weights["steps"], cache, tokens, affixes, count
        )
        return cache, logits(weights, features)

    if decoder or network.encoder.config.kind != "transformer":
        return Decodable(prefill, step)
    return Decodable(prefill, step, kv_cache_decoding.fork, kv_cache_decoding.choose)
