"""A trained run, loaded for use: it predicts, generates and evaluates."""

import dataclasses
import functools
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mtljax.data import Layout, Tokenizer
from mtljax.errors import UserError
from mtljax.inference.decisions import USUAL, Decisions, check_decisions, decided
from mtljax.inference.generation_config import (
    EVALUATION,
    GenerationConfig,
    check_generation,
    default_config,
    with_settings,
)
from mtljax.inference.inputs import TaskInput, UserInput, checked_inputs, select_input
from mtljax.inference.measured import Written, measured
from mtljax.inference.predictions import Answer, Function, group_answers, make_answers
from mtljax.inference.prompts import affix_table, prompt_keys
from mtljax.inference.run_data import run_data
from mtljax.inference.text_generator import OnText, TextGenerator, make_text_generator
from mtljax.kinds import KINDS
from mtljax.modules.network import Params
from mtljax.presets import Config
from mtljax.tasks import Task, suggestion
from mtljax.training.evaluation import Values
from mtljax.training.model import Model
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.checkpoints import checkpoint_steps
from mtljax.training.persistence.remote_run import run_to_read
from mtljax.training.persistence.run_directory import RunFiles
from mtljax.training.reporting.data_notes import left_out_notes
from mtljax.training.restore import restore_params, restored_model

PREVIEW_TOKENS = 20
"""Tokens of the continuation that `Run.predict` shows."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A trained model and all it needs to be used; made by `load_run`.

    Attributes:
      directory: the run directory.
      config: the configuration of the run.
      tasks: its tasks.
      tokenizer: its tokenizer.
      layout: the input groups and outputs of its data.
      model: the network and how its inputs are laid out.
      params: the parameters of the best checkpoint.
      step: the step of that checkpoint.
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
        self,
        texts: Sequence[UserInput],
        tasks: Sequence[str] | None = None,
        decisions: Decisions = USUAL,
    ) -> list[dict[str, Answer]]:
        """Answer some texts by every task that can read them.

        Answers are plain JSON. Classification: ``{"label", "probabilities": {name: p}}``, the
        sigmoid of a single logit, else the softmax over the classes. Multilabel: ``{"labels",
        "probabilities"}``, the classes above 0.5 and the probability of each. Regression:
        ``{"value"}``. Tagging: ``{"words", "tags"}``, and ``"restored"``, the text that the tags
        say, for data sets whose tags are the form of a text. Language models: ``{"continuation"}``,
        the most probable tokens, up to `PREVIEW_TOKENS`. Text to text: ``{"text"}``, the most
        probable tokens, up to half a row.

        Any text gets an answer: empty, with NUL or lone surrogates, of any length. Tagging covers
        all words; the kinds with one answer a text read the first ``batch.row_length`` pieces (or
        the task's ``max_length``), text to text half as many; a language model continues from
        as many of the last.

        Args:
          texts: each a text, which taggers split into words, a list of words, or, for tasks of
            several inputs, a mapping such as ``{"premise": ..., "hypothesis": ...}`` from the names
            of features to texts.
          tasks: names of the tasks that are to answer; None for all that have something to read.
          decisions: from which probabilities on a class is answered.

        Returns:
          For each text the answers by task, in the order of the run's tasks.

        Raises:
          TypeError: if `texts` is no list of texts.
          UserError: if the run has no such task, a text lacks an input of one that is named, or a
            threshold is no probability.
        """
        check_decisions(decisions)
        texts = checked_inputs(texts)
        wanted = self._wanted(tasks)
        answers: list[dict[str, Answer]] = [{} for _ in texts]
        if not texts:
            return answers
        selected = self._selected(texts, wanted, named=tasks is not None)
        for group in self.layout.groups:
            asked = [task for task in group.tasks if task.name in wanted]
            # Tasks that write nothing answer together, from one pass of the encoder.
            direct = [task for task in asked if not KINDS[task.kind].writes]
            if direct:
                function = self._functions(group.name, tuple(task.name for task in direct))
                numbers, inputs = selected[direct[0].name]
                several = group_answers(
                    function, self.params, self.model, self.tokenizer, group.name, direct, inputs
                )
                for number, by_task in zip(numbers, several, strict=True):
                    answers[number] |= {
                        name: decided(answer, decisions) for name, answer in by_task.items()
                    }
            for task in asked:
                if KINDS[task.kind].writes:
                    numbers, inputs = selected[task.name]
                    for number, answer in zip(numbers, self._written(task, inputs), strict=True):
                        answers[number][task.name] = answer
        return [{name: by_task[name] for name in wanted if name in by_task} for by_task in answers]

    def check_text(self, text: UserInput, tasks: Sequence[str] | None = None) -> None:
        """Check that `predict` can answer a text.

        Raises:
          UserError: if it lacks an input of a task that is named.
        """
        self._selected([text], self._wanted(tasks), named=tasks is not None)

    def _wanted(self, tasks: Sequence[str] | None) -> list[str]:
        names = [task.name for task in self.tasks]
        for name in tasks or ():
            self.task(name)
        return names if tasks is None else [name for name in names if name in set(tasks)]

    def _selected(
        self, texts: Sequence[UserInput], wanted: Sequence[str], *, named: bool
    ) -> dict[str, tuple[list[int], list[Any]]]:
        """For each task the numbers of the texts that it reads, and what it reads of each."""
        selected: dict[str, list[TaskInput | None]] = {
            name: [select_input(self.task(name), text, named=named) for text in texts]
            for name in wanted
        }
        for i, text in enumerate(texts):
            if wanted and all(inputs[i] is None for inputs in selected.values()):
                select_input(self.task(wanted[0]), text, named=True)  # raises: says what it lacks
        return {
            name: (
                [i for i, task_input in enumerate(inputs) if task_input is not None],
                [task_input for task_input in inputs if task_input is not None],
            )
            for name, inputs in selected.items()
        }

    def _written(self, task: Task, inputs: Sequence[TaskInput]) -> list[Answer]:
        generator = self.generators(task.name)
        kind = KINDS[task.kind]
        answers = kind.writes == "answer"
        most = generator.width // 2 if answers else PREVIEW_TOKENS
        config = GenerationConfig(
            max_tokens=most, temperature=0.0, too_long="right" if answers else "left"
        )
        output = self.layout.outputs[task.name]
        texts = generator.generate(inputs, config)
        return [kind.answer(text.strip(), output, ()) for text in texts]

    def generate(
        self,
        prompts: Sequence[UserInput],
        config: GenerationConfig | None = None,
        *,
        task: str | None = None,
        seen: Counter[str] | None = None,
        on_text: OnText | None = None,
        **settings: Any,
    ) -> list[str]:
        """Continue some prompts with a language model, or answer them with text to text.

        A seed gives the same text for a prompt whatever other prompts there are; equal prompts get
        different texts. Unknown words are never written. A text that fills what the model reads at
        once is continued from its last half, which is read again; the text of text to text and of a
        beam search ends there.

        Args:
          prompts: texts, lists of words or mappings, as for `predict`; an empty one begins a text.
          config: the settings; by default those of the kind of the task, as on the command line:
            `generation_config.CONTINUATION`, or for text to text `ANSWER`.
          task: name of a language model or of a task of text to text; None for the first one.
          seen: how many texts there were for equal prompts in earlier calls; it is counted up.
          on_text: called with the first text so far, whenever it has grown.
          **settings: fields of `GenerationConfig`, in place of those of `config`; `stop` may be one
            text as well.

        Returns:
          For each prompt the text that follows it, `samples` texts one after another, without the
          prompt, with the space before it that belongs there; for text to text the answers.

        Raises:
          TypeError: for a setting that there is none of, or a prompt that is no text.
          UserError: for a setting out of its range, a prompt that is too long, or if there is no
            such task.
        """
        prompts = checked_inputs(prompts)
        writer = self.task(self.language_model(task))
        config = with_settings(config or default_config(KINDS[writer.kind]), settings)
        check_generation(config, self.layout.outputs[writer.name].num_classes)
        inputs = [select_input(writer, prompt, named=True) for prompt in prompts]
        return self.generators(writer.name).generate(inputs, config, seen, on_text)

    def count_prompts(
        self, prompts: Sequence[UserInput], task: str | None = None, samples: int = 1
    ) -> Counter[str]:
        """The `seen` with which `generate` continues after these prompts."""
        writer = self.task(self.language_model(task))
        inputs = [select_input(writer, prompt, named=True) for prompt in checked_inputs(prompts)]
        seen: Counter[str] = Counter()
        prompt_keys(0, inputs, samples, seen)
        return seen

    def check_prompt(
        self,
        prompt: UserInput,
        config: GenerationConfig | None = None,
        *,
        task: str | None = None,
        **settings: Any,
    ) -> None:
        """Check that `generate`, called with the same settings, can continue or answer a prompt.

        Raises:
          UserError: if it is empty or too long, or lacks what the task reads.
        """
        writer = self.task(self.language_model(task))
        config = with_settings(config or default_config(KINDS[writer.kind]), settings)
        text = select_input(writer, prompt, named=True)
        assert text is not None
        read = self.generators(writer.name).read_prompt(text, config)
        if set(read.tokens.tolist()) <= {self.tokenizer.marks.start, self.tokenizer.marks.end}:
            raise UserError("the text is empty")

    def evaluate(
        self,
        split: str = "test",
        data_dir: str | Path | None = None,
        cache_dir: str | Path | None = None,
        *,
        generate: bool = False,
        config: GenerationConfig = EVALUATION,
        say: Callable[[str], None] = lambda text: None,
        **settings: Any,
    ) -> Values:
        """Metric values on a split of the run's data.

        Args:
          split: 'train', 'validation' or 'test'.
          data_dir: directory of the data sets in TFDS format.
          cache_dir: directory of the cache of tokenised data; None for no cache.
          generate: whether the texts of text to text are generated as well, measured by
            `generation_metrics` and kept with their sources and references in
            ``generated/TASK-SPLIT.jsonl`` of the run.
          config: how these texts are generated, one for each source.
          say: is called with a line on how texts are measured, where it is not the usual, and on
            rows that are left out.
          **settings: fields of `GenerationConfig`, in place of those of `config`.

        Returns:
          Values by task and metric; tasks that have no such split are left out.

        Raises:
          TypeError: for a setting that there is none of.
          UserError: if no task has the split, the data is missing or has changed, or a setting is
            out of its range.
        """
        splits = ("train", "validation", "test")
        if split not in splits:
            raise UserError(f"split {split!r}: unknown{suggestion(split, splits)}")
        config = with_settings(config, settings)
        files = RunFiles(self.config, self.tasks, self.tokenizer, self.layout)
        data = run_data(self.directory, files, data_dir, cache_dir)
        for note in left_out_notes(data, split):
            say(note)
        keep = self.directory / run_directory.GENERATED
        written = Written(self.generators, config, keep) if generate else None
        values = measured(self.model, self.params, data, split, written, say)
        if not values:
            raise UserError(f"split {split!r}: no task of {self.directory} has one")
        return values

    def language_model(self, task: str | None = None) -> str:
        """The name of a task of this run that writes text: the one named, else the first.

        A language model comes before a task of text to text.

        Raises:
          UserError: if there is none.
        """
        if task is not None:
            if not KINDS[self.task(task).kind].writes:
                raise UserError(f"task {task!r}: is no language model nor text to text")
            return task
        for writes in ("continuation", "answer"):
            for candidate in self.tasks:
                if KINDS[candidate.kind].writes == writes:
                    return candidate.name
        raise UserError(f"{self.directory}: has no task of kind language_model or text_to_text")

    def task(self, name: str) -> Task:
        """The task of a name.

        Raises:
          UserError: if there is none.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        known = suggestion(name, [task.name for task in self.tasks])
        raise UserError(f"task {name!r}: unknown to {self.directory}{known}")

    @functools.cached_property
    def _functions(self) -> Callable[[str, tuple[str, ...]], Function]:
        # One compiled function for each group and choice of tasks.
        @functools.cache
        def make(group: str, names: tuple[str, ...]) -> Function:
            return make_answers(self.model, group, [self.task(name) for name in names])

        return make

    @functools.cached_property
    def generators(self) -> Callable[[str], TextGenerator]:
        """From a task that writes text to its generator, whose functions are compiled once."""
        affixes = affix_table(self.tokenizer)

        @functools.cache
        def make(name: str) -> TextGenerator:
            task = self.task(name)
            return make_text_generator(self.model, task, self.tokenizer, self.params, affixes)

        return make


def load_run(
    path: str | Path, warn: Callable[[str], None] | None = None, *, step: int | None = None
) -> Run:
    """Load a run for use, finished or not, with the parameters of its best checkpoint.

    Nothing in the directory is changed.

    Args:
      path: the run directory; of another scheme, such as ``gs://bucket/run``, a copy here is read.
      warn: is called with one line about a damaged checkpoint, in whose place another is taken; by
        default a `UserWarning`.
      step: of the checkpoint that is taken; None for the best.

    Returns:
      A `Run`.

    Raises:
      UserError: naming the file, if one is missing or damaged or no checkpoint can be read.
    """
    directory = run_to_read(path)
    if not run_directory.holds_run(directory) and not directory.is_dir():
        raise UserError(f"run directory {directory}: no such directory")
    warn = warn or (lambda text: warnings.warn(text, stacklevel=3))
    files = run_directory.read_run(directory, warn)
    model, shapes = restored_model(directory, files.config, files.layout)
    checkpoints = directory / run_directory.CHECKPOINTS
    if step is not None and step not in (there := checkpoint_steps(checkpoints)):
        steps = ", ".join(map(str, there)) or "none"
        raise UserError(f"{directory}: no checkpoint of step {step}; there are {steps}")
    taken, params = restore_params(
        checkpoints,
        shapes,
        averaged=files.config.optimizer.average > 0,
        warn=warn,
        steps=() if step is None else (step,),
    )
    return Run(
        directory, files.config, files.tasks, files.tokenizer, files.layout, model, params, taken
    )
