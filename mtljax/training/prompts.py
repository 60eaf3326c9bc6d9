"""Prompts as ids: what a model reads before it writes."""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

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


def has_text(reading: Text | tuple[Text, ...]) -> bool:
    """Whether there is anything but spaces in what is read."""
    parts = reading if isinstance(reading, tuple) else (reading,)
    words = (word for part in parts for word in ([part] if isinstance(part, str) else part))
    return any(word.strip() for word in words)


def source_room(width: int, max_tokens: int) -> int:
    """Ids that a source of a text-to-text task may have, its marks among them.

    Half of what the model reads at least, and what `max_tokens` leaves of it.

    >>> source_room(64, 20), source_room(64, 1000)
    (44, 32)
    """
    return max(width // 2, width - max_tokens)


def read_prompt(
    task: Task,
    tokenizer: Tokenizer,
    reading: Text | tuple[Text, ...],
    width: int,
    max_tokens: int,
    *,
    truncate_left: bool,
) -> Prompt:
    """What a model reads of a prompt.

    A language model reads `<s>` and the text; a text-to-text model the source, and `</s>` after it,
    where the target begins.

    Args:
      task: the task.
      tokenizer: the model's.
      reading: from `mtljax.training.readings.reading`.
      width: ids that the model reads at once.
      max_tokens: that are to be written.
      truncate_left: read the end of what is too long.

    Returns:
      A `Prompt`; of a language model of up to `width` ids, of a text-to-text model of fewer, so
      that a target has room.

    Raises:
      UserError: if it is too long, or empty where a text is needed.
    """
    parts = reading if isinstance(reading, tuple) else (reading,)
    target = task.kind == "text_to_text"
    if target and not has_text(reading):
        raise UserError(f"the text is empty, and task {task.name!r} writes from a text")
    if truncate_left:
        parts = [_tail(part, width) for part in parts]
    encoded = [tokenizer.encode([part]) for part in parts]
    tokens = np.concatenate([one.tokens for one in encoded])
    affixes = np.concatenate([one.affixes for one in encoded])
    # Parts stand one after another, each after a mark; only the first mark is <s>.
    tokens = np.where((tokens == START) & (np.arange(len(tokens)) > 0), END, tokens)
    if target:
        tokens = np.append(tokens, END)
        affixes = np.concatenate([affixes, np.zeros((1, affixes.shape[1]), np.int32)])
    most = width - 1 if target else width
    if len(tokens) > most:
        if not truncate_left:
            raise UserError(
                f"the text has {len(tokens)} tokens, and the model reads {most} at once; with "
                "truncate_left it reads the last of them"
            )
        return shortened(
            Prompt(tokens, affixes), source_room(width, max_tokens) if target else most
        )
    return Prompt(tokens.astype(np.int32), affixes)


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
      prompts: texts, lists of words or tuples of them.
      samples: texts for each prompt.
      seen: how many texts there were for equal prompts before; is counted up.

    Returns:
      Key data, those of a prompt's texts one after another: decided by the seed, the prompt and the
      number of equal prompts before it.
    """
    base = jax.random.key(seed)
    numbers: list[tuple[int, int]] = []
    for prompt in prompts:
        text = _one_text(prompt)
        name = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        numbers += [(name, seen[text] + i) for i in range(samples)]
        seen[text] += samples
    pairs = jnp.asarray(np.array(numbers, np.uint32).reshape(-1, 2))
    fold = jax.random.fold_in
    folded = jax.vmap(lambda pair: fold(fold(base, pair[0]), pair[1]))(pairs)
    return list(np.asarray(jax.random.key_data(folded)))


def _one_text(prompt: Any) -> str:
    if isinstance(prompt, tuple):
        return "\n".join(map(_one_text, prompt))
    return prompt if isinstance(prompt, str) else " ".join(prompt)


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
