"""Prompts as ids: what a model reads before it writes."""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data.tokenizers import START, Text, Tokenizer
from mtljax.data.tokenizers.affixes import affix_ids
from mtljax.data.tokenizers.protocol import END, SPECIALS
from mtljax.errors import UserError
from mtljax.tasks import Task

_TAIL = 256  # characters a piece, at most, that are looked at for the end of a long prompt


class Prompt(NamedTuple):
    """What a model reads before it writes.

    Attributes:
      tokens: int32 ``[n]``, ids, `<s>` the first of them.
      affixes: int32 ``[n, A]``, theirs.
    """

    tokens: np.ndarray
    affixes: np.ndarray


def read_prompt(
    task: Task,
    tokenizer: Tokenizer,
    reading: Text,
    width: int,
    max_tokens: int,
    too_long: Literal["refuse", "left", "right"],
) -> Prompt:
    """What a model reads of a prompt.

    A language model reads `<s>` and the text; text to text the source, and `</s>` after it, where
    the target begins.

    Args:
      task: the task.
      tokenizer: the model's.
      reading: from `mtljax.inference.inputs.reading`.
      width: ids that the model reads at once.
      max_tokens: that are to be written.
      too_long: what is longer is refused, or cut off 'left' or 'right'; of text to text so much
        that the target has room, or half of the width.

    Returns:
      A `Prompt` of up to `width` ids.

    Raises:
      UserError: if it is too long.
    """
    answers = task.kind == "text_to_text"
    limit = None
    if too_long == "left":
        reading = _tail(reading, width)
    elif too_long == "right":
        limit = width
    encoded = tokenizer.encode([reading], limit)
    found = Prompt(encoded.tokens, encoded.affixes)
    most = width - answers
    if len(found.tokens) > most:
        if too_long == "refuse":
            raise UserError(
                f"the text has {len(found.tokens)} tokens, and the model reads {most} at once; "
                "with too_long 'left' (--truncate-left) it reads the last of them"
            )
        most = width - min(max_tokens, width // 2) if answers else most
        right = Prompt(*(x[:most] for x in found))
        found = shortened(found, most) if too_long == "left" else right
    if answers:
        nothing = np.zeros_like(found.affixes[:1])
        found = Prompt(np.append(found.tokens, END), np.concatenate([found.affixes, nothing]))
    return Prompt(found.tokens.astype(np.int32), found.affixes)


def shortened(prompt: Prompt, most: int) -> Prompt:
    """`<s>` and the last ids of a prompt, `most` in all."""
    if len(prompt.tokens) <= most:
        return prompt
    last = slice(len(prompt.tokens) - most + 1, None)
    tokens = np.concatenate([[START], prompt.tokens[last]]).astype(np.int32)
    return Prompt(tokens, np.concatenate([prompt.affixes[:1], prompt.affixes[last]]))


def affix_table(tokenizer: Tokenizer) -> np.ndarray:
    """The affixes of every piece of a vocabulary: int32 ``[V, A]``, 0 for the special ones."""
    settings = tokenizer.settings
    table = np.zeros((tokenizer.vocab_size, settings.affixes), np.int32)
    if settings.affixes:
        first = len(SPECIALS)
        for i, piece in enumerate(tokenizer.pieces[first:], start=first):
            table[i] = affix_ids(piece, settings)
    return table


def prompt_keys(
    seed: int, prompts: Sequence[Any], samples: int, seen: Counter[str]
) -> list[np.ndarray]:
    """The random keys of some texts.

    Args:
      seed: of the draws.
      prompts: texts or lists of words.
      samples: texts for each prompt.
      seen: how many texts there were for equal prompts before; is counted up.

    Returns:
      Key data, those of a prompt's texts one after another: decided by the seed, the prompt and the
      number of equal prompts before it.
    """
    base = jax.random.key(seed)
    numbers: list[tuple[int, int]] = []
    for prompt in prompts:
        text = prompt if isinstance(prompt, str) else " ".join(prompt)
        name = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        numbers += [(name, seen[text] + i) for i in range(samples)]
        seen[text] += samples
    pairs = jnp.asarray(np.array(numbers, np.uint32).reshape(-1, 2))
    fold = jax.random.fold_in
    folded = jax.vmap(lambda pair: fold(fold(base, pair[0]), pair[1]))(pairs)
    return list(np.asarray(jax.random.key_data(folded)))


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
