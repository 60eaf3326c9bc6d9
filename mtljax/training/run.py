"""A trained run, for use: predict, generate, evaluate."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from mtljax.data import Layout, Tokenizer, load_data
from mtljax.errors import UserError
from mtljax.generation import Decoded
from mtljax.modules.network import Params
from mtljax.presets import Config
from mtljax.tasks import Task, suggestion
from mtljax.training import run_directory
from mtljax.training.answers import Answer, Function, group_answers, make_answers, reading_length
from mtljax.training.continuation import (
    affix_table,
    check_sampling,
    continuations,
    make_decoder,
)
from mtljax.training.evaluation import Evaluator, Values
from mtljax.training.model import Model, attention_of, build_model
from mtljax.training.readings import Question, Reading, checked_questions, reading
from mtljax.training.restore import initial_params, restore_params

PREVIEW_TOKENS = 20
"""Tokens of the continuation that `Run.predict` shows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A trained model and all it needs to be used; made by `load_run`.

    Attributes:
      directory: of the run.
      config: its configuration.
      tasks: its tasks.
      tokenizer: its tokenizer.
      layout: input groups and outputs of its data.
      model: the network.
      params: parameters of the best checkpoint.
      step: of that checkpoint.
    """

    directory: Path
    config: Config
    tasks: tuple[Task, ...]
    tokenizer: Tokenizer
    layout: Layout
    model: Model
    params: Params = dataclasses.field(repr=False)
    step: int

    def predict(
        self, texts: Sequence[Question], tasks: Sequence[str] | None = None
    ) -> list[dict[str, Answer]]:
        """What every task says of some texts.

        Answers are plain JSON. Classification: ``{"label", "probabilities": {name: p}}``, the
        sigmoid of a single logit, else the softmax over the classes. Regression: ``{"value"}``.
        Tagging: ``{"words", "tags"}``, and ``"restored"`` with case and punctuation for
        movie_casepunct. Language models: ``{"continuation"}``, the most probable words, up to
        `PREVIEW_TOKENS`.

        Any text gets an answer: empty, with NUL or lone surrogates, of any length. Tagging covers
        all words; classification and regression read the first ``batch.row_length`` pieces (or the
        task's ``max_length``); a language model goes on from as many of the last.

        Args:
          texts: each a text, which taggers split into words, a list of words, or, for tasks of
            several inputs, a mapping such as ``{"premise": ..., "hypothesis": ...}`` from the names
            of features to texts.
          tasks: names of the tasks to ask; None for all those that have something to read.

        Returns:
          For each text the answers by task, in the order of the run's tasks.

        Raises:
          UserError: if the run has no such task, or a text lacks an input of one that is asked.
        """
        texts = checked_questions(texts)
        wanted = self._wanted(tasks)
        found: list[dict[str, Answer]] = [{} for _ in texts]
        if not texts:
            return found
        readings = self._readings(texts, wanted, named=tasks is not None)
        for group in self.layout.groups:
            asked = [task for task in group.tasks if task.name in wanted]
            direct = [task for task in asked if task.kind != "language_model"]
            if direct:
                function = self._answers(group.name, tuple(task.name for task in direct))
                places, inputs = readings[direct[0].name]
                answers = group_answers(
                    function, self.params, self.model, self.tokenizer, group.name, direct, inputs
                )
                for place, more in zip(places, answers, strict=True):
                    found[place].update(more)
            for task in asked:
                if task.kind == "language_model":
                    places, prompts = readings[task.name]
                    added = self.generate(
                        prompts, max_tokens=PREVIEW_TOKENS, temperature=0.0, task=task.name
                    )
                    for place, text in zip(places, added, strict=True):
                        found[place][task.name] = {"continuation": text.strip()}
        return [{name: one[name] for name in wanted if name in one} for one in found]

    def check_text(self, text: Question, tasks: Sequence[str] | None = None) -> None:
        """Check that `predict` can answer a text.

        Raises:
          UserError: if it lacks an input of a task that is asked.
        """
        self._readings([text], self._wanted(tasks), named=tasks is not None)

    def _wanted(self, tasks: Sequence[str] | None) -> list[str]:
        names = [task.name for task in self.tasks]
        for name in tasks or ():
            self._task(name)
        return names if tasks is None else [name for name in names if name in set(tasks)]

    def _readings(
        self, texts: Sequence[Question], wanted: Sequence[str], *, named: bool
    ) -> dict[str, tuple[list[int], list[Any]]]:
        # By task the texts it reads: their numbers, and what it reads of each.
        found: dict[str, list[Reading | None]] = {
            name: [reading(self._task(name), text, named=named) for text in texts]
            for name in wanted
        }
        for i, text in enumerate(texts):
            if wanted and all(read[i] is None for read in found.values()):
                reading(self._task(wanted[0]), text, named=True)  # which says what it lacks
        return {
            name: (
                [i for i, r in enumerate(read) if r is not None],
                [r for r in read if r is not None],
            )
            for name, read in found.items()
        }

    def generate(
        self,
        prompts: Sequence[Question],
        max_tokens: int = 50,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
        task: str | None = None,
    ) -> list[str]:
        """Go on with some prompts.

        A seed gives the same text for a prompt whatever stands beside it; equal prompts differ from
        each other. Unknown words are never written.

        Args:
          prompts: texts, lists of words or mappings, as for `predict`; an empty one begins a text.
          max_tokens: tokens that are added at most.
          temperature: from 0, the most probable word each time; 1 is the model's own distribution.
          top_k: draw from that many most probable words; 0 for all.
          top_p: draw from the most probable words that together have this probability, in (0, 1].
          seed: of the draws, from 0.
          task: name of a language model; None for the first one.

        Returns:
          For each prompt what follows it, without the prompt, with the space before it that
          belongs there.

        Raises:
          UserError: for a number out of range, or if there is no such language model.
        """
        check_sampling(max_tokens, temperature, top_k, top_p, seed)
        prompts = checked_questions(prompts)
        name = self.language_model(task)
        texts: list[Any] = [reading(self._task(name), prompt, named=True) for prompt in prompts]
        if not prompts:
            return []
        group = self.layout.group_of(name).name
        return continuations(
            self._decoder(name),
            self.params,
            self.tokenizer,
            reading_length(self.model, group),
            texts,
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=min(top_k, self.layout.outputs[name].num_classes),
            top_p=top_p,
            seed=seed,
        )

    def evaluate(
        self,
        split: str = "test",
        data_dir: str | Path | None = None,
        cache_dir: str | Path | None = None,
    ) -> Values:
        """Metric values on a split of the run's data.

        Args:
          split: 'train', 'validation' or 'test'.
          data_dir: where data sets in TFDS format lie.
          cache_dir: where tokenised data is kept and looked for; None for nowhere.

        Returns:
          Values by task and metric; tasks that have no such split are left out.

        Raises:
          UserError: if no task has the split, or the data is not there or not what it was.
        """
        splits = ("train", "validation", "test")
        if split not in splits:
            raise UserError(f"split {split!r}: unknown{suggestion(split, splits)}")
        data = load_data(
            self.tasks,
            data_dir=data_dir,
            tokenizer=self.tokenizer,
            row_length=self.config.batch.row_length,
            batch_tokens=self.config.batch.tokens,
            row_multiple=self.config.batch.multiple,
            attention=attention_of(self.config, self.tasks),
            mixture=self.config.mixture,
            bad_rows=self.config.data.bad_rows,
            cache_dir=cache_dir,
        )
        run_directory.check_same_data(self.directory, data)
        values = Evaluator(self.model, data)(self.params, split, plain_words=True)
        if not values:
            raise UserError(f"split {split!r}: no task of {self.directory} has one")
        return values

    def language_model(self, task: str | None = None) -> str:
        """The name of a language model of this run: the one named, else the first.

        Raises:
          UserError: if there is none.
        """
        if task is not None:
            if self._task(task).kind != "language_model":
                raise UserError(f"task {task!r}: is no language model")
            return task
        for candidate in self.tasks:
            if candidate.kind == "language_model":
                return candidate.name
        raise UserError(f"{self.directory}: has no task of kind language_model")

    def _task(self, name: str) -> Task:
        for task in self.tasks:
            if task.name == name:
                return task
        known = suggestion(name, [task.name for task in self.tasks])
        raise UserError(f"task {name!r}: unknown to {self.directory}{known}")

    @functools.cached_property
    def _answers(self) -> Callable[[str, tuple[str, ...]], Function]:
        # One compiled function for each group and choice of tasks.
        @functools.cache
        def make(group: str, names: tuple[str, ...]) -> Function:
            return make_answers(self.model, group, [self._task(name) for name in names])

        return make

    @functools.cached_property
    def _decoder(self) -> Callable[[str], Callable[..., Decoded]]:
        table = affix_table(self.tokenizer)
        return functools.cache(lambda name: make_decoder(self.model, name, table))


def load_run(path: str | Path, warn: Callable[[str], None] | None = None) -> Run:
    """Load a run for use, finished or not, with the parameters of its best checkpoint.

    Nothing in the directory is changed.

    Args:
      path: the run directory.
      warn: told in one line of a damaged checkpoint, in whose place another is taken; by default a
        `UserWarning`.

    Returns:
      A `Run`.

    Raises:
      UserError: naming the file, if one is missing or damaged or no checkpoint can be read.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise UserError(f"run directory {directory}: no such directory")
    files = run_directory.read_run(directory)
    model = build_model(files.config, files.layout)
    step, params = restore_params(
        directory / run_directory.CHECKPOINTS,
        jax.eval_shape(lambda: initial_params(model)),
        averaged=files.config.optimizer.average > 0,
        warn=warn or (lambda text: warnings.warn(text, stacklevel=2)),
    )
    return Run(
        directory, files.config, files.tasks, files.tokenizer, files.layout, model, params, step
    )
