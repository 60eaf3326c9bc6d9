"""Texts that go on: prompts in batches, through a decoder, and back to text."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data.tokenizers import Tokenizer
from mtljax.data.tokenizers.protocol import SPECIALS
from mtljax.generation import Sampling, padded_length
from mtljax.inference.decoder import Decoder
from mtljax.inference.generation_config import GenerationConfig
from mtljax.inference.prompts import Prompt, shortened

ROWS = 8
"""Rows decoded together, always: what a row becomes must not depend on how many there are."""

_LEAST = 16  # columns of prompts, at least
_WATCH = 8  # tokens between two looks at the texts

Say = Callable[[str], None]


@dataclasses.dataclass
class _Text:
    """A text that is being written."""

    begin: Prompt  # what the caller gave
    prompt: Prompt  # what is read now
    key: np.ndarray
    added: list[int] = dataclasses.field(default_factory=list)  # ids
    ended: bool = False


@dataclasses.dataclass(frozen=True)
class Writer:
    """What generates the text of one task.

    Attributes:
      decoder: its compiled functions.
      weights: from the decoder's `prepare`.
      tokenizer: the model's.
      affixes: int32 ``[V, A]``, the affixes of every token.
      width: ids that the model reads at once.
      goes_on: whether a text that fills the context is read anew from its last half and goes on, as
        that of a language model; else it ends there.
    """

    decoder: Decoder
    weights: Any = dataclasses.field(repr=False)
    tokenizer: Tokenizer
    affixes: np.ndarray = dataclasses.field(repr=False)
    width: int
    goes_on: bool


def continuations(
    writer: Writer,
    prompts: Sequence[Prompt],
    keys: Sequence[np.ndarray],
    how: GenerationConfig,
    say: Say | None = None,
) -> list[str]:
    """Write what follows some prompts.

    Prompts are read in batches of `ROWS` of about one length, so that little of them is padding;
    what follows does not depend on what stands beside a prompt.

    Args:
      writer: what writes.
      prompts: of `writer.width` ids at most.
      keys: key data of each text: as many as there are prompts and samples.
      how: the settings, checked.
      say: told the first text so far, whenever it has grown; what it ends with may still change.

    Returns:
      The texts, `how.samples` for each prompt, one after another, each with the space before it
      that belongs there.
    """
    if how.beam:
        return _searched(writer, prompts, how)
    several = [prompt for prompt in prompts for _ in range(how.samples)]
    texts = [_Text(prompt, prompt, key) for prompt, key in zip(several, keys, strict=True)]
    open_ = [text for text in texts if how.max_tokens]
    while open_:
        for text in open_:
            if len(text.prompt.tokens) > writer.width:
                left = how.max_tokens - len(text.added)
                text.prompt = shortened(text.prompt, _with_room(writer, left))
        for size, batch in _batches(open_, lambda text: text.prompt, writer.width):
            _write(writer, batch, size, how, say)
        open_ = [text for text in open_ if not text.ended and len(text.added) < how.max_tokens]
    return [_shown(writer, text.begin, text.added, how)[0] for text in texts]


def cut(text: str, stop: Iterable[str]) -> tuple[str, bool]:
    """A text up to the first of some others in it, and whether there was one.

    >>> cut("one. two.", [".", "two"]), cut("one", ["."])
    (('one', True), ('one', False))
    """
    places = [place for one in stop if (place := text.find(one)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def settled(text: str, stop: Iterable[str] = ()) -> str:
    """The part of a text so far that what follows cannot change.

    That is all but its last word, of which spaces and unfinished letters may still change, and but
    what may be the beginning of one of `stop`.

    >>> settled("the second wor"), settled("to be: of", ["e: off"])
    ('the second', 'to')
    """
    longest = max(map(len, stop), default=0)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(one.startswith(text[-length:]) for one in stop):
            text = text[:-length]
            break
    words = text.rstrip().rsplit(None, 1)
    return text[: text.rstrip().rfind(words[-1])].rstrip() if len(words) > 1 else ""


def added_text(tokenizer: Tokenizer, prompt: Prompt, added: Sequence[int]) -> str:
    """The text of some ids after a prompt, with the space before it that belongs there."""
    if not len(added):
        return ""
    before = tokenizer.decode(prompt.tokens.tolist())
    whole = tokenizer.decode([*prompt.tokens.tolist(), *added])
    if before and whole.startswith(before):
        return whole[len(before) :]
    alone = tokenizer.decode(list(added))
    return f" {alone}" if before else alone


def _shown(
    writer: Writer, prompt: Prompt, added: Sequence[int], how: GenerationConfig
) -> tuple[str, bool]:
    # An answer stands for itself: no space before it.
    prompt = prompt if writer.goes_on else Prompt(prompt.tokens[:0], prompt.affixes[:0])
    return cut(added_text(writer.tokenizer, prompt, added), how.stop)


def _batches(
    items: Sequence[Any], prompt_of: Callable[[Any], Prompt], width: int
) -> Iterator[tuple[int, list[Any]]]:
    # By the length that each is padded to: the shape of a batch is decided by every row itself.
    by_size: dict[int, list[Any]] = {}
    for item in items:
        size = min(padded_length(len(prompt_of(item).tokens), _LEAST), width)
        by_size.setdefault(size, []).append(item)
    for size, some in sorted(by_size.items()):
        for first in range(0, len(some), ROWS):
            yield size, some[first : first + ROWS]


def _with_room(writer: Writer, tokens: int) -> int:
    # Half of the context, or all but what is to follow. The last token that follows is not read.
    return max(writer.width // 2, writer.width - tokens + 1)


def _room(writer: Writer, size: int, max_tokens: int) -> int:
    # A prompt that is padded to more than the least has more than half of that.
    shortest = size // 2 if size > _LEAST else 0
    return max(1, min(padded_length(max_tokens, _LEAST), writer.width - shortest))


def _arrays(
    writer: Writer, prompts: Sequence[Prompt], size: int, max_tokens: Sequence[int]
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Prompts at the right edge of `ROWS` rows, their classes, and the tokens they may gain."""
    tokens, segments, positions = (np.zeros((ROWS, size), np.int32) for _ in range(3))
    affixes = np.zeros((ROWS, size, writer.affixes.shape[-1]), np.int32)
    limits = np.zeros(ROWS, np.int32)
    segments[:, -1] = 1  # rows of no text
    for row, (prompt, most) in enumerate(zip(prompts, max_tokens, strict=True)):
        count = len(prompt.tokens)
        tokens[row, size - count :] = prompt.tokens
        affixes[row, size - count :] = prompt.affixes
        segments[row, size - count :] = 1
        positions[row, size - count :] = np.arange(count)
        limits[row] = min(most, writer.width - count + 1)
    batch: dict[str, Any] = {"tokens": tokens, "segments": segments, "positions": positions}
    if affixes.shape[-1]:
        batch["affixes"] = affixes
    # Penalties look at a text that goes on, not at a source, from which a text may well copy.
    context = _classes(writer)[tokens] if writer.goes_on else np.zeros((ROWS, 0), np.int32)
    return batch, context, limits


def _classes(writer: Writer) -> np.ndarray:
    ids = writer.decoder.output_ids
    table = np.full(writer.tokenizer.vocab_size, -1, np.int32)
    table[ids] = np.arange(len(ids))
    table[: len(SPECIALS)] = -1
    return table


def _write(
    writer: Writer, texts: list[_Text], size: int, how: GenerationConfig, say: Say | None
) -> None:
    """Go on with a batch of texts until they end, have all their tokens or fill the context."""
    before = [len(text.added) for text in texts]
    left = [how.max_tokens - count for count in before]
    batch, context, limits = _arrays(writer, [text.prompt for text in texts], size, left)
    keys = np.zeros((ROWS, *texts[0].key.shape), np.uint32)
    first = np.zeros(ROWS, np.int32)
    keys[: len(texts)] = [text.key for text in texts]
    first[: len(texts)] = before
    room = _room(writer, size, how.max_tokens)
    rows = writer.decoder.begin(writer.weights, batch, context, keys, limits, first, room=room)
    sampling = Sampling(how.temperature, how.top_k, how.top_p, how.min_p, how.repetition_penalty)
    start = [list(text.added) for text in texts]
    every = 1 if say else _WATCH if how.stop else room
    ids = writer.decoder.output_ids
    for until in range(every, room + every, every):
        rows = writer.decoder.advance(
            writer.weights, rows, sampling, min(until, room), no_repeat_ngram=how.no_repeat_ngram
        )
        tokens, lengths, ended, going = jax.device_get(
            (rows.tokens, rows.lengths, rows.ended, rows.going)
        )
        for row, text in enumerate(texts):
            text.added = [*start[row], *ids[tokens[row, : lengths[row]]].tolist()]
            text.ended = bool(ended[row])
            if how.stop and not text.ended:
                text.ended = _shown(writer, text.begin, text.added, how)[1]
        if say:
            say(_shown(writer, texts[0].begin, texts[0].added, how)[0])
        closed = np.array([text.ended for text in texts] + [True] * (ROWS - len(texts)))
        if not (going & ~closed).any():
            break
        if (closed & going).any():
            rows = rows._replace(ended=jnp.asarray(closed))
    for text, old in zip(texts, start, strict=True):
        new = np.asarray(text.added[len(old) :], np.int32)
        text.prompt = Prompt(
            np.concatenate([text.prompt.tokens, new]),
            np.concatenate([text.prompt.affixes, writer.affixes[new]]),
        )
        text.ended |= not writer.goes_on


def _searched(writer: Writer, prompts: Sequence[Prompt], how: GenerationConfig) -> list[str]:
    found: list[list[str]] = [[""] * how.samples for _ in prompts]
    if writer.goes_on:
        # Beams end where the context is full: the text is to have room.
        most = _with_room(writer, how.max_tokens)
        prompts = [shortened(prompt, most) for prompt in prompts]
    numbered = list(enumerate(prompts)) if how.max_tokens else []
    for size, some in _batches(numbered, lambda item: item[1], writer.width):
        batch, context, limits = _arrays(
            writer, [prompt for _, prompt in some], size, [how.max_tokens] * len(some)
        )
        beams = writer.decoder.search(
            writer.weights,
            batch,
            context,
            limits,
            how.length_penalty,
            how.repetition_penalty,
            room=_room(writer, size, how.max_tokens),
            beams=how.beam,
            returns=how.samples,
            no_repeat_ngram=how.no_repeat_ngram,
        )
        tokens, lengths = jax.device_get((beams.tokens, beams.lengths))
        for row, (number, prompt) in enumerate(some):
            for i in range(how.samples):
                ids = writer.decoder.output_ids[tokens[row, i, : lengths[row, i]]].tolist()
                found[number][i] = _shown(writer, prompt, ids, how)[0]
    return [text for texts in found for text in texts]
