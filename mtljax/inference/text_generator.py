"""Text from a trained model: prompts in batches, through a compiled decoder, back to text."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data.tokenizers import Tokenizer
from mtljax.data.tokenizers.subword import special_ids
from mtljax.errors import UserError
from mtljax.generation import Sampling
from mtljax.generation.loop import padded_length
from mtljax.inference.decoder import Decoder, make_decoder
from mtljax.inference.generated_text import before_stop, text_after
from mtljax.inference.generation_config import GenerationConfig
from mtljax.inference.inputs import TaskInput
from mtljax.inference.predictions import reading_length
from mtljax.inference.prompts import Prompt, keep_last, prompt_keys, read_prompt
from mtljax.kinds import KINDS
from mtljax.modules.network import Params
from mtljax.tasks import Task
from mtljax.training.model import Model

ROWS = 8
"""Rows of every batch: a text must not depend on how many others are generated with it."""

OnText = Callable[[str], None]
"""Called with the first text so far, whenever it has grown; its end may still change."""

_MIN_COLUMNS = 16  # columns of prompts, at least
_CHECK_EVERY = 8  # tokens between two looks for a text that has reached a stop


@dataclasses.dataclass(frozen=True, eq=False)
class TextGenerator:
    """Generates the texts of one task; made by `make_text_generator`.

    Attributes:
      task: a language model, or text to text.
      tokenizer: the tokenizer of the model.
      decoder: the compiled functions of the task.
      params: the parameters of the model.
      affixes: int32 ``[V, A]``, the affixes of every token.
      width: number of ids that the model reads at once.
    """

    task: Task
    tokenizer: Tokenizer
    decoder: Decoder
    params: Params = dataclasses.field(repr=False)
    affixes: np.ndarray = dataclasses.field(repr=False)
    width: int

    def read_prompt(self, text: TaskInput, config: GenerationConfig) -> Prompt:
        """The ids that the model reads of a prompt.

        Raises:
          UserError: if it is too long.
        """
        assert not isinstance(text, tuple), "tasks that write text have one input"
        return read_prompt(
            self.task, self.tokenizer, text, self.width, config.max_tokens, config.too_long
        )

    def generate(
        self,
        texts: Sequence[Any],
        config: GenerationConfig,
        seen: Counter[str] | None = None,
        on_text: OnText | None = None,
    ) -> list[str]:
        """Continue or answer some texts.

        Args:
          texts: the prompts, from `mtljax.inference.inputs.select_input`.
          config: the settings, checked.
          seen: how many texts there were for equal prompts before; it is counted up.
          on_text: called with the first text so far, whenever it has grown.

        Returns:
          The texts, `config.samples` for each prompt, one after another.

        Raises:
          UserError: naming the prompt that is too long.
        """
        prompts = []
        for number, text in enumerate(texts, start=1):
            try:
                prompts.append(self.read_prompt(text, config))
            except UserError as error:
                raise UserError(f"prompt {number}: {error}") from None
        if not prompts:
            return []
        seen = Counter() if seen is None else seen
        config = dataclasses.replace(config, top_k=min(config.top_k, len(self.decoder.output_ids)))
        keys = prompt_keys(config.seed, texts, config.samples, seen)
        return generate_texts(self, prompts, keys, config, on_text)

    @property
    def continues(self) -> bool:
        """Whether a text continues its prompt, and may outgrow what the model reads at once.

        Else it is an answer, which ends there.
        """
        return KINDS[self.task.kind].writes == "continuation"

    @functools.cached_property
    def weights(self) -> Any:
        """The parameters in the form that the decoder takes."""
        return self.decoder.prepare(self.params)

    @functools.cached_property
    def class_of_token(self) -> np.ndarray:
        """int32 ``[V]``, the class of each token; -1 for special tokens and those of no class."""
        ids = self.decoder.output_ids
        table = np.full(self.tokenizer.vocab_size, -1, np.int32)
        table[ids] = np.arange(len(ids))
        table[list(special_ids(self.tokenizer))] = -1
        return table


def make_text_generator(
    model: Model, task: Task, tokenizer: Tokenizer, params: Params, affixes: np.ndarray
) -> TextGenerator:
    """What generates the texts of a task; its functions are compiled when they are first called.

    Args:
      model: the network and its data layout.
      task: one that writes text.
      tokenizer: the tokenizer of the model.
      params: the parameters of the model.
      affixes: int32 ``[V, A]``, from `mtljax.inference.prompts.affix_table`.
    """
    decoder = make_decoder(model, task.name, affixes)
    width = reading_length(model, model.layout.group_of(task.name).name)
    return TextGenerator(task, tokenizer, decoder, params, affixes, width)


def generate_texts(
    generator: TextGenerator,
    prompts: Sequence[Prompt],
    keys: Sequence[np.ndarray],
    config: GenerationConfig,
    on_text: OnText | None = None,
) -> list[str]:
    """Generate what follows some prompts.

    Prompts are read in batches of `ROWS` of about one length, so that little of them is padding.
    What follows a prompt does not depend on the others.

    Args:
      generator: of the task.
      prompts: each of up to `generator.width` ids.
      keys: key data of each text, as many as there are prompts times samples.
      config: the settings, checked.
      on_text: called with the first text so far, whenever it has grown.

    Returns:
      The texts, `config.samples` for each prompt, one after another, each with the space before it
      that belongs there.
    """
    if config.beam:
        return _search_texts(generator, prompts, config)
    repeated = [prompt for prompt in prompts for _ in range(config.samples)]
    texts = [_Text(prompt, prompt, key) for prompt, key in zip(repeated, keys, strict=True)]
    unfinished = [text for text in texts if config.max_tokens]
    # Each round fills the context of every unfinished text once.
    while unfinished:
        for text in unfinished:
            if len(text.context.tokens) > generator.width:
                left = config.max_tokens - len(text.added)
                text.context = keep_last(text.context, _kept_context(generator, left))
        for columns, batch in _batches(unfinished, lambda text: text.context, generator.width):
            _sample_batch(generator, batch, columns, config, on_text)
        unfinished = [
            text for text in unfinished if not text.ended and len(text.added) < config.max_tokens
        ]
    return [_shown(generator, text.prompt, text.added, config)[0] for text in texts]


@dataclasses.dataclass
class _Text:
    """A text that is being generated.

    Attributes:
      prompt: what the caller gave.
      context: what the model reads next, the prompt and the text so far or the end of them.
      key: key data of its draws.
      added: ids of the text so far.
      ended: whether it has reached its end mark, or a stop.
    """

    prompt: Prompt
    context: Prompt
    key: np.ndarray
    added: list[int] = dataclasses.field(default_factory=list)
    ended: bool = False


def _sample_batch(
    generator: TextGenerator,
    texts: list[_Text],
    columns: int,
    config: GenerationConfig,
    on_text: OnText | None,
) -> None:
    """Continue a batch of texts until they end, have all their tokens or fill the context."""
    # Read the contexts. A draw is decided by the key of its text and the number of its token.
    start = [list(text.added) for text in texts]
    left = [config.max_tokens - len(added) for added in start]
    batch, penalized, limits = _arrays(generator, [text.context for text in texts], columns, left)
    keys = np.zeros((ROWS, *texts[0].key.shape), np.uint32)
    first = np.zeros(ROWS, np.int32)
    keys[: len(texts)] = [text.key for text in texts]
    first[: len(texts)] = [len(added) for added in start]
    room = _room(generator, columns, config.max_tokens)
    decoder, weights = generator.decoder, generator.weights
    rows = decoder.begin(weights, batch, penalized, keys, limits, first, room=room)

    # Draw tokens, a few at a time only where somebody looks at the text in between.
    sampling = Sampling(
        config.temperature, config.top_k, config.top_p, config.min_p, config.repetition_penalty
    )
    every = 1 if on_text else _CHECK_EVERY if config.stop else room
    for until in range(every, room + every, every):
        rows = decoder.advance(
            weights, rows, sampling, min(until, room), no_repeat_ngram=config.no_repeat_ngram
        )
        tokens, lengths, ended, going = jax.device_get(
            (rows.tokens, rows.lengths, rows.ended, rows.going)
        )
        for row, text in enumerate(texts):
            text.added = [*start[row], *decoder.output_ids[tokens[row, : lengths[row]]].tolist()]
            text.ended = bool(ended[row])
            if config.stop and not text.ended:
                text.ended = _shown(generator, text.prompt, text.added, config)[1]
        if on_text:
            on_text(_shown(generator, texts[0].prompt, texts[0].added, config)[0])
        # A text that has reached a stop ends its row too; without rows to continue, all is done.
        closed = np.array([text.ended for text in texts] + [True] * (ROWS - len(texts)))
        if not (going & ~closed).any():
            break
        if (closed & going).any():
            rows = rows._replace(ended=jnp.asarray(closed))

    # What was added is context of what may follow.
    for text, before in zip(texts, start, strict=True):
        new = np.asarray(text.added[len(before) :], np.int32)
        text.context = Prompt(
            np.concatenate([text.context.tokens, new]),
            np.concatenate([text.context.affixes, generator.affixes[new]]),
        )
        text.ended |= not generator.continues


def _search_texts(
    generator: TextGenerator, prompts: Sequence[Prompt], config: GenerationConfig
) -> list[str]:
    """The best texts of a beam search after each prompt."""
    if generator.continues:
        # Beams end where the context is full: leave room for the text.
        kept = _kept_context(generator, config.max_tokens)
        prompts = [keep_last(prompt, kept) for prompt in prompts]
    texts: list[list[str]] = [[""] * config.samples for _ in prompts]
    numbered = list(enumerate(prompts)) if config.max_tokens else []
    decoder = generator.decoder
    for columns, some in _batches(numbered, lambda item: item[1], generator.width):
        batch, penalized, limits = _arrays(
            generator, [prompt for _, prompt in some], columns, [config.max_tokens] * len(some)
        )
        beams = decoder.search(
            generator.weights,
            batch,
            penalized,
            limits,
            config.length_penalty,
            config.repetition_penalty,
            room=_room(generator, columns, config.max_tokens),
            beams=config.beam,
            returns=config.samples,
            no_repeat_ngram=config.no_repeat_ngram,
        )
        tokens, lengths = jax.device_get((beams.tokens, beams.lengths))
        for row, (number, prompt) in enumerate(some):
            for i in range(config.samples):
                ids = decoder.output_ids[tokens[row, i, : lengths[row, i]]].tolist()
                texts[number][i] = _shown(generator, prompt, ids, config)[0]
    return [text for several in texts for text in several]


def _batches(
    items: Sequence[Any], prompt_of: Callable[[Any], Prompt], width: int
) -> Iterator[tuple[int, list[Any]]]:
    """Up to `ROWS` items at a time whose prompts are padded to the same number of columns."""
    # Each prompt decides its padding by itself: so the shape of its batch depends on no other.
    by_columns: dict[int, list[Any]] = {}
    for item in items:
        columns = min(padded_length(len(prompt_of(item).tokens), _MIN_COLUMNS), width)
        by_columns.setdefault(columns, []).append(item)
    for columns, some in sorted(by_columns.items()):
        for first in range(0, len(some), ROWS):
            yield columns, some[first : first + ROWS]


def _kept_context(generator: TextGenerator, max_tokens: int) -> int:
    # Half of the width, or all but what is to follow. The last token that follows is not read.
    return max(generator.width // 2, generator.width - max_tokens + 1)


def _room(generator: TextGenerator, columns: int, max_tokens: int) -> int:
    """Tokens that any text of a batch may gain, a static number."""
    # A prompt that is padded to more than the least has more than half of the columns.
    shortest = columns // 2 if columns > _MIN_COLUMNS else 0
    return max(1, min(padded_length(max_tokens, _MIN_COLUMNS), generator.width - shortest))


def _arrays(
    generator: TextGenerator,
    prompts: Sequence[Prompt],
    columns: int,
    max_tokens: Sequence[int],
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Prompts as the arrays that the decoder takes.

    Returns:
      The batch, prompts at the right edge of ``[ROWS, columns]``; int32 ``[ROWS, columns or 0]``,
      the classes that penalties look at; int32 ``[ROWS]``, the tokens that each text may gain.
    """
    tokens, segments, positions = (np.zeros((ROWS, columns), np.int32) for _ in range(3))
    affixes = np.zeros((ROWS, columns, generator.affixes.shape[-1]), np.int32)
    limits = np.zeros(ROWS, np.int32)
    segments[:, -1] = 1  # rows of no text have one position, so that none attends to nothing
    for row, (prompt, most) in enumerate(zip(prompts, max_tokens, strict=True)):
        count = len(prompt.tokens)
        tokens[row, columns - count :] = prompt.tokens
        affixes[row, columns - count :] = prompt.affixes
        segments[row, columns - count :] = 1
        positions[row, columns - count :] = np.arange(count)
        limits[row] = min(most, generator.width - count + 1)
    batch: dict[str, Any] = {"tokens": tokens, "segments": segments, "positions": positions}
    if affixes.shape[-1]:
        batch["affixes"] = affixes
    # Penalties look at a text that is continued, not at a source, from which an answer may copy.
    if generator.continues:
        return batch, generator.class_of_token[tokens], limits
    return batch, np.zeros((ROWS, 0), np.int32), limits


def _shown(
    generator: TextGenerator, prompt: Prompt, added: Sequence[int], config: GenerationConfig
) -> tuple[str, bool]:
    """The text of some ids up to a stop, and whether there is one."""
    if not generator.continues:
        # An answer stands for itself: no space before it.
        prompt = Prompt(prompt.tokens[:0], prompt.affixes[:0])
    return before_stop(text_after(generator.tokenizer, prompt, added), config.stop)
