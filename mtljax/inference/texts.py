"""The texts that a trained model writes, task by task."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from mtljax.data import Tokenizer
from mtljax.errors import UserError
from mtljax.inference.decoder import make_decoder
from mtljax.inference.generation_config import GenerationConfig
from mtljax.inference.predictions import reading_length
from mtljax.inference.prompts import Prompt, affix_table, prompt_keys, read_prompt
from mtljax.inference.text_generator import Say, Writer, continuations
from mtljax.modules.network import Params
from mtljax.tasks import Task
from mtljax.training.model import Model


@dataclasses.dataclass(frozen=True, eq=False)
class Texts:
    """What the tasks of a model write; a task's functions are compiled once.

    Attributes:
      model: the network.
      tokenizer: its tokenizer.
      params: its parameters.
    """

    model: Model
    tokenizer: Tokenizer
    params: Params = dataclasses.field(repr=False)

    def width(self, task: Task) -> int:
        """Pieces that the model reads at once for a task."""
        return reading_length(self.model, self.model.layout.group_of(task.name).name)

    def prompt(self, task: Task, reading: Any, how: GenerationConfig) -> Prompt:
        """What the model reads of a prompt.

        Raises:
          UserError: if it is too long.
        """
        return read_prompt(
            task, self.tokenizer, reading, self.width(task), how.max_tokens, how.too_long
        )

    def write(
        self,
        task: Task,
        readings: Sequence[Any],
        how: GenerationConfig,
        seen: Counter[str] | None = None,
        say: Say | None = None,
    ) -> list[str]:
        """Go on with some prompts, or answer them.

        Args:
          task: one that writes text.
          readings: from `mtljax.inference.inputs.reading`.
          how: the settings, checked.
          seen: how many texts there were for equal prompts before; is counted up.
          say: told the first text so far, whenever it has grown.

        Returns:
          The texts, `how.samples` for each prompt, one after another.

        Raises:
          UserError: naming the prompt that is too long.
        """
        prompts = []
        for number, text in enumerate(readings, start=1):
            try:
                prompts.append(self.prompt(task, text, how))
            except UserError as error:
                raise UserError(f"prompt {number}: {error}") from None
        if not prompts:
            return []
        seen = Counter() if seen is None else seen
        classes = self.model.layout.outputs[task.name].num_classes
        how = dataclasses.replace(how, top_k=min(how.top_k, classes))
        keys = prompt_keys(how.seed, readings, how.samples, seen)
        return continuations(self._writer(task), prompts, keys, how, say)

    @functools.cached_property
    def _writer(self) -> Callable[[Task], Writer]:
        table = affix_table(self.tokenizer)

        @functools.cache
        def make(task: Task) -> Writer:
            decoder = make_decoder(self.model, task.name, table)
            weights = decoder.prepare(self.params)
            goes_on = task.kind == "language_model"
            return Writer(decoder, weights, self.tokenizer, table, self.width(task), goes_on)

        return make
