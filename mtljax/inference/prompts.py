"""Prompts as ids: what a model reads before it generates."""

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data.tokenizers import Text, Tokenizer
from mtljax.data.tokenizers.affixes import affix_ids
from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.special_tokens import SPECIALS
from mtljax.tasks import Task

_TAIL = 256  # characters a piece, at most, that are encoded for the end of a long prompt


class Prompt(NamedTuple):
    """What a model reads before it generates.

    Attributes:
      tokens: int32 ``[n]``, ids, `<s>` the first of them where texts begin with a mark.
      affixes: int32 ``[n, A]``, the affixes of each.
    """

    tokens: np.ndarray
    affixes: np.ndarray


def read_prompt(
    task: Task,
    tokenizer: Tokenizer,
    text: Text,
    width: int,
    max_tokens: int,
    too_long: Literal["refuse", "left", "right"],
) -> Prompt:
    """Encode a prompt.

    A language model reads `<s>` and the text; text to text reads `<s>`, the source and `</s>`,
    after which the target begins, or the marks that a pretrained model has in their place.

    Args:
      task: a language model, or text to text.
      tokenizer: the tokenizer of the model.
      text: the prompt, from `mtljax.inference.inputs.select_input`.
      width: number of ids that the model reads at once.
      max_tokens: number of tokens that are to be generated.
      too_long: a prompt of more than `width` ids is refused, or truncated from the 'left' or the
        'right'; that of text to text so far that the target has room, or half of the width.

    Returns:
      A `Prompt` of up to `width` ids.

    Raises:
      UserError: if it is too long.
    """
    marks, answers = tokenizer.marks, KINDS[task.kind].writes == "answer"
    # The first id is no mark but a place for one, and not read, where texts begin with none.
    bare = not marks.prefix
    width += bare
    limit = None
    if too_long == "left":
        text = _tail(text, width)
    elif too_long == "right":
        limit = width
    encoded = tokenizer.encode([text], limit)
    prompt = Prompt(encoded.tokens, encoded.affixes)
    most = width - (len(marks.answer) if answers else 0)
    if len(prompt.tokens) > most:
        if too_long == "refuse":
            raise UserError(
                f"the text has {len(prompt.tokens) - bare} tokens, and the model reads "
                f"{most - bare} at once; "
                "with too_long 'left' (--truncate-left) it reads the last of them"
            )
        room = min(max_tokens, width // 2) + len(marks.answer) - 1
        most = width - room if answers else most
        first = Prompt(prompt.tokens[:most], prompt.affixes[:most])
        prompt = keep_last(prompt, most) if too_long == "left" else first
    if answers:
        nothing = np.zeros_like(prompt.affixes, shape=(len(marks.answer), prompt.affixes.shape[1]))
        prompt = Prompt(
            np.append(prompt.tokens, marks.answer), np.concatenate([prompt.affixes, nothing])
        )
    return Prompt(prompt.tokens[bare:].astype(np.int32), prompt.affixes[bare:])


def keep_last(prompt: Prompt, most: int) -> Prompt:
    """`<s>` and the last ids of a prompt, `most` in all."""
    if len(prompt.tokens) <= most:
        return prompt
    last = slice(len(prompt.tokens) - most + 1, None)
    tokens = np.concatenate([prompt.tokens[:1], prompt.tokens[last]]).astype(np.int32)
    return Prompt(tokens, np.concatenate([prompt.affixes[:1], prompt.affixes[last]]))


def affix_table(tokenizer: Tokenizer) -> np.ndarray:
    """The affixes of every token of a vocabulary: int32 ``[V, A]``, 0 for the special ones."""
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
      seed: of the draws, in [0, 2^32).
      prompts: texts or lists of words.
      samples: number of texts for each prompt.
      seen: how many texts there were for equal prompts before; it is counted up.

    Returns:
      Key data, those of a prompt's texts one after another: decided by the seed, the prompt and the
      number of texts of equal prompts before it.
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


def _tail(text: Text, width: int) -> Text:
    """The end of a long text, from the start of a word, so that the rest need not be encoded."""
    if not isinstance(text, str):
        return list(text)[-width:]
    length = width * _TAIL
    if len(text) <= length:
        return text
    tail = text[-length:]
    space = tail.find(" ")
    return tail[space + 1 :] if 0 <= space < length // 2 else tail
