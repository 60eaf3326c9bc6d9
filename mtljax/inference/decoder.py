"""How text is generated, as settings that can be checked, and the compiled functions behind it."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data.tokenizers.protocol import END, OOV
from mtljax.errors import UserError
from mtljax.generation import Beams, Decodable, Rows, Sampling, advance, beam_search, begin
from mtljax.modules import (
    DecoderHead,
    Features,
    Readout,
    decoder_decoding,
    kv_cache_decoding,
    predict,
)
from mtljax.modules.config import output_width
from mtljax.modules.network import Params
from mtljax.training.model import Model

MOST_TOKENS = 100_000
"""Tokens that are added to a prompt at most."""

MOST_TEXTS = 10_000
"""Texts of a prompt at most."""


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """How text is generated.

    Attributes:
      max_tokens: tokens that are added at most.
      temperature: from 0, the most probable token each time; 1 is the model's own distribution.
      top_k: draw from that many most probable tokens; 0 for all.
      top_p: draw from the most probable tokens that together have this probability, in (0, 1].
      min_p: draw from the tokens at least this share as probable as the most probable, in [0, 1].
      repetition_penalty: of tokens that stand in the text already, above 0; 1 for none.
      no_repeat_ngram: n of the n-grams that a text may not have twice; 0 for any.
      beam: beginnings that a beam search keeps; 0 for none. Nothing is drawn then.
      length_penalty: power of the length that a beam search divides log probabilities by.
      samples: texts for each prompt; of a beam search the best, at most `beam`.
      stop: texts before which a text ends.
      seed: of the draws, from 0.
      too_long: what becomes of a prompt that is longer than the model reads at once: 'refuse', or
        truncation from the 'left' or the 'right'.
    """

    max_tokens: int = 50
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    beam: int = 0
    length_penalty: float = 1.0
    samples: int = 1
    stop: tuple[str, ...] = ()
    seed: int = 0
    too_long: Literal["refuse", "left", "right"] = "refuse"


def check_generation(how: GenerationConfig, classes: int) -> None:
    """Check the settings.

    Args:
      how: the settings.
      classes: that the task chooses from.

    Raises:
      UserError: naming the one that is out of range.
    """

    def check(name: str, good: bool, range_: str) -> None:
        if not good:
            raise UserError(f"{name}: must be {range_}, got {getattr(how, name)}")

    check("max_tokens", 0 <= how.max_tokens <= MOST_TOKENS, f"in [0, {MOST_TOKENS}]")
    check(
        "temperature",
        math.isfinite(how.temperature) and how.temperature >= 0,
        "finite and at least 0",
    )
    check("top_k", how.top_k >= 0, "at least 0")
    check("top_p", 0 < how.top_p <= 1, "in (0, 1]")
    check("min_p", 0 <= how.min_p <= 1, "in [0, 1]")
    penalty = how.repetition_penalty
    check("repetition_penalty", math.isfinite(penalty) and penalty > 0, "finite and above 0")
    check("no_repeat_ngram", how.no_repeat_ngram >= 0, "at least 0")
    check("beam", 0 <= how.beam <= classes, f"in [0, {classes}], the size of the vocabulary")
    check("length_penalty", math.isfinite(how.length_penalty), "finite")
    check("samples", 1 <= how.samples <= MOST_TEXTS, f"in [1, {MOST_TEXTS}]")
    if how.beam:
        check("samples", how.samples <= how.beam, f"at most the beam, {how.beam}")
    check("seed", 0 <= how.seed < 2**32, "in [0, 2^32)")
    if not all(how.stop):
        raise UserError("stop: a text must not be empty")


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
    return compiled(make_decodable(model, task, affix_table), ready, ids)


def compiled(
    decodable: Decodable, prepare: Callable[[Params], Any], output_ids: np.ndarray
) -> Decoder:
    """A `Decoder` of a model, compiled when its functions are first called.

    Unknown words are never chosen.

    Args:
      decodable: the model.
      prepare: from parameters to what it takes for them.
      output_ids: int32 ``[V_out]``, the token of each class, the end mark among them.
    """
    end = int(np.flatnonzero(output_ids == END)[0])
    banned = tuple(np.flatnonzero(output_ids == OOV).tolist())

    @functools.partial(jax.jit, static_argnames="room")
    def start(weights, batch, context, keys, limits, first, room: int) -> Rows:
        keys = jax.random.wrap_key_data(keys)
        return begin(decodable, weights, batch, keys, limits, room, context=context, first=first)

    @functools.partial(jax.jit, static_argnames="no_repeat_ngram", donate_argnames="rows")
    def go_on(weights, rows: Rows, how: Sampling, until, no_repeat_ngram: int) -> Rows:
        return advance(
            decodable,
            weights,
            rows,
            how,
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

    return Decoder(prepare, start, go_on, search, np.asarray(output_ids), end)


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
    empty = Features(
        jnp.zeros((1, 1, output_width(c))),
        jnp.zeros((1, 1, c.embedding)),
        params["shared"]["embedding"]["words"],
        jnp.ones((1, 1), jnp.int32),
        jnp.ones((1, 1), bool),
    )
    # The rows of the table that are classes: not to be looked up again for every token.
    readout = predict(network, head, task, empty, 1)
    assert isinstance(readout, Readout)
    if isinstance(network.heads[task], DecoderHead):
        steps = kv_cache_decoding.with_kernels(head, network.encoder.dtype)
    else:
        steps = kv_cache_decoding.prepare(network, params["shared"])
    return {
        "params": {"shared": params["shared"], "head": head},
        "steps": steps,
        "table": readout.table,
        "bias": readout.bias,
    }


def make_decodable(model: Model, task: str, affix_table: np.ndarray) -> Decodable:
    """A task's model as two functions, for `mtljax.generation`.

    Its parameters are those of `prepare`, its prompts a batch of rows as
    `mtljax.modules.kv_cache_decoding.begin` wants them.

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
            own = weights["steps"]
            readout, written = decoder_decoding.begin(network, shared, own, task, batch, room)
            return written, read_out(weights, readout)
        features, past = kv_cache_decoding.begin(network, shared, group, batch, room)
        last = {
            name: getattr(features, name)[:, -1:] for name in ("hidden", "embedded", "segments")
        }
        return past, logits(weights, features._replace(**last))

    def step(weights: Any, past: Any, classes: jax.Array, count: jax.Array) -> Any:
        tokens = jnp.asarray(ids)[classes]
        affixes = jnp.asarray(affix_table)[tokens] if affix_table.shape[-1] else None
        if decoder:
            shared, own = weights["params"]["shared"], weights["steps"]
            readout, past = decoder_decoding.advance(
                network, shared, own, task, past, tokens, affixes, count
            )
            return past, read_out(weights, readout)
        read = (network, weights["steps"], past, tokens, affixes, count)
        features, past = kv_cache_decoding.advance(*read)
        return past, logits(weights, features)

    if decoder or network.encoder.config.kind != "transformer":
        return Decodable(prefill, step)
    return Decodable(prefill, step, kv_cache_decoding.fork, kv_cache_decoding.choose)
