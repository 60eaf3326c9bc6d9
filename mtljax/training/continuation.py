"""Text that goes on: a trained language model, decoded."""

import math
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data.tokenizers import END, START, Text, Tokenizer
from mtljax.data.tokenizers.affixes import affix_ids
from mtljax.data.tokenizers.protocol import SPECIALS
from mtljax.errors import UserError
from mtljax.generation import Decoded, decode, padded_length
from mtljax.modules import Readout, encode, predict
from mtljax.modules.network import Params
from mtljax.training.answers import reading_length
from mtljax.training.model import Model

ROWS = 8
"""Rows decoded together, always: what a row becomes must not depend on how many there are."""

MOST_TOKENS = 100_000
"""Tokens that are added to a prompt at most."""

_OOV_CLASS, _END_CLASS = 0, 1
_TAIL = 256  # characters a piece, at most, that are looked at for the end of a long prompt


def make_decoder(model: Model, task_name: str, affix_table: np.ndarray) -> Callable[..., Decoded]:
    """Return a jitted function that decodes rows with a language model.

    Each token is drawn from the model's reading of the last `reading_length` ids, encoded anew:
    there is no cache yet, and no text is read beyond the length the model was trained on.

    Args:
      model: the model.
      task_name: one of its language models.
      affix_table: from `affix_table`.

    Returns:
      ``(params, tokens [R, L], affixes [R, L, A], lengths [R], keys [R], max_tokens, temperature,
      top_k, top_p) -> Decoded``. L is at least the reading length.
    """
    group = model.layout.group_of(task_name).name
    width = reading_length(model, group)
    output_ids = model.layout.outputs[task_name].ids
    assert output_ids is not None

    def decoder(
        params: Params,
        tokens: jax.Array,
        affixes: jax.Array,
        lengths: jax.Array,
        keys: jax.Array,
        max_tokens: jax.Array,
        temperature: jax.Array,
        top_k: jax.Array,
        top_p: jax.Array,
    ) -> Decoded:
        table = jnp.asarray(affix_table)

        def next_logits(ids: jax.Array, counts: jax.Array) -> jax.Array:
            begin = jnp.maximum(counts - width, 0)
            columns = begin[:, None] + jnp.arange(width)
            # Where the window has moved on, it begins with <s> as every example does.
            start = jnp.arange(width) == 0
            read = jnp.where(start, START, jnp.take_along_axis(ids, columns, axis=1))
            size = counts - begin
            batch = {
                "tokens": read,
                "segments": (jnp.arange(width) < size[:, None]).astype(jnp.int32),
                "positions": jnp.broadcast_to(jnp.arange(width), read.shape),
            }
            if table.shape[-1]:
                # Words of the prompt have the affixes they were written with.
                own = jnp.take_along_axis(affixes, columns[..., None], axis=1)
                written = (columns < lengths[:, None]) & ~start
                batch["affixes"] = jnp.where(written[..., None], own, table[read])
            features = encode(model.network, params["shared"], group, batch)
            head = params["heads"][task_name]
            readout = predict(model.network, head, task_name, features, 1)
            assert isinstance(readout, Readout)
            last = jnp.take_along_axis(readout.queries, (size - 1)[:, None, None], axis=1)
            return readout._replace(queries=last).logits()[:, 0]

        return decode(
            next_logits,
            jnp.asarray(output_ids),
            tokens,
            lengths,
            keys,
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            banned=(_OOV_CLASS,),
            end=_END_CLASS,
        )

    return jax.jit(decoder)


def check_sampling(
    max_tokens: int, temperature: float, top_k: int, top_p: float, seed: int
) -> None:
    """Check the numbers that `mtljax.training.Run.generate` takes.

    Raises:
      UserError: naming the one that is out of range.
    """
    if not 0 <= max_tokens <= MOST_TOKENS:
        raise UserError(f"max_tokens: must be in [0, {MOST_TOKENS}], got {max_tokens}")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UserError(f"temperature: must be finite and at least 0, got {temperature}")
    if top_k < 0:
        raise UserError(f"top_k: must be at least 0, got {top_k}")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p: must be in (0, 1], got {top_p}")
    if not 0 <= seed < 2**32:
        raise UserError(f"seed: must be in [0, 2^32), got {seed}")


def affix_table(tokenizer: Tokenizer) -> np.ndarray:
    """The affixes of every piece of a vocabulary: int32 ``[V, A]``, 0 for the special ones."""
    settings = tokenizer.settings
    table = np.zeros((tokenizer.vocab_size, settings.affixes), np.int32)
    if settings.affixes:
        first = len(SPECIALS)
        for i, piece in enumerate(tokenizer.pieces[first:], start=first):
            table[i] = affix_ids(piece, settings)
    return table


def continuations(
    decoder: Callable[..., Decoded],
    params: Params,
    tokenizer: Tokenizer,
    width: int,
    prompts: Sequence[Text],
    *,
    max_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
    text_to_text: bool = False,
) -> list[str]:
    """Go on with some prompts.

    Args:
      decoder: from `make_decoder`.
      params: parameters.
      tokenizer: the model's.
      width: the model's reading length; of a longer prompt only the end is read.
      prompts: texts or lists of words.
      max_tokens: tokens at most.
      temperature: see `mtljax.generation.sample`.
      top_k: see there.
      top_p: see there.
      seed: together with a prompt, and the number of equal prompts before it, decides its text.
      text_to_text: whether a prompt is a whole text, ended by a mark, that another one answers; of
        a longer one the beginning is read that leaves room for the tokens, or half a row of them.

    Returns:
      For each prompt what follows it, with the space before it that belongs there; of text to text,
      the answer alone.
    """
    found: list[str] = []
    keys = _keys(seed, prompts)
    size = padded_length(width + max_tokens)
    for first in range(0, len(prompts), ROWS):
        some = prompts[first : first + ROWS]
        tokens = np.zeros((ROWS, size), np.int32)
        affixes = np.zeros((ROWS, size, tokenizer.settings.affixes), np.int32)
        lengths = np.ones(ROWS, np.int32)
        tokens[:, 0] = START
        for row, prompt in enumerate(some):
            if text_to_text:
                encoded = tokenizer.encode([prompt], width - min(max_tokens, width // 2))
                kept = len(encoded.tokens)
                lengths[row] = 1 + kept
                tokens[row, :kept], tokens[row, kept] = encoded.tokens, END
                affixes[row, :kept] = encoded.affixes
                continue
            encoded = tokenizer.encode([_tail(prompt, width)])
            kept = min(len(encoded.tokens) - 1, width - 1)
            lengths[row] = 1 + kept
            if kept:
                tokens[row, 1 : 1 + kept] = encoded.tokens[-kept:]
                affixes[row, 1 : 1 + kept] = encoded.affixes[-kept:]
        rows_keys = jax.random.wrap_key_data(jnp.asarray(_filled(keys[first : first + ROWS])))
        decoded = decoder(
            params, tokens, affixes, lengths, rows_keys, max_tokens, temperature, top_k, top_p
        )
        ids, ends = jax.device_get((decoded.tokens, decoded.lengths))
        for row in range(len(some)):
            prompt, added = ids[row, : lengths[row]], ids[row, lengths[row] : ends[row]]
            found.append(_text(tokenizer, prompt[:0] if text_to_text else prompt, added))
    return found


def _tail(prompt: Text, width: int) -> Text:
    # The end of a long prompt, from the start of a word, without looking at the rest.
    if not isinstance(prompt, str):
        return list(prompt)[-width:]
    far = width * _TAIL
    if len(prompt) <= far:
        return prompt
    tail = prompt[-far:]
    cut = tail.find(" ")
    return tail[cut + 1 :] if 0 <= cut < far // 2 else tail


def _keys(seed: int, prompts: Sequence[Text]) -> np.ndarray:
    seen: Counter[str] = Counter()
    base = jax.random.key(seed)
    keys: list[Any] = []
    for prompt in prompts:
        text = prompt if isinstance(prompt, str) else " ".join(prompt)
        name = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        keys.append((name, seen[text]))
        seen[text] += 1
    names = jnp.asarray(np.array(keys, np.uint32).reshape(-1, 2))
    fold = jax.random.fold_in
    folded = jax.vmap(lambda pair: fold(fold(base, pair[0]), pair[1]))(names)
    return np.asarray(jax.random.key_data(folded))


def _filled(keys: np.ndarray) -> np.ndarray:
    return np.concatenate([keys, np.zeros((ROWS - len(keys), *keys.shape[1:]), keys.dtype)])


def _text(tokenizer: Tokenizer, prompt: np.ndarray, added: np.ndarray) -> str:
    if not len(added):
        return ""
    before = tokenizer.decode(prompt.tolist())
    whole = tokenizer.decode([*prompt.tolist(), *added.tolist()])
    if before and whole.startswith(before):
        return whole[len(before) :]
    alone = tokenizer.decode(added.tolist())
    return f" {alone}" if before else alone
