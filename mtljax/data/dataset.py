"""From tasks to batches: everything a training run reads."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mtljax.data.batches import (
    GroupBatch,
    Shape,
    StepIterator,
    evaluation_batches,
    training_batches,
)
from mtljax.data.catalogue import load_source
from mtljax.data.examples import Examples, encode_inputs, read_examples
from mtljax.data.groups import Attention, Group, attention_by_kind, input_groups
from mtljax.data.layout import Layout
from mtljax.data.mixture import rows_per_group
from mtljax.data.outputs import Output, task_output
from mtljax.data.packing import pack
from mtljax.data.source import Source
from mtljax.data.tokenizers import Text, Tokenizer, TokenizerSettings, train_tokenizer
from mtljax.errors import UserError
from mtljax.tasks.task import Task

SPLITS = ("train", "validation", "test")
"""The splits that are read, as far as a data set has them."""

_MAX_POSITIONS = 2**31 - 1  # they are numbered in int32


@dataclass(frozen=True)
class MultitaskData:
    """Tokenised data of several tasks, in memory.

    Attributes:
        tokenizer: how text becomes ids.
        layout: groups, outputs and shapes.
        examples: by group and split.
        sources: the data sets, by name.
    """

    tokenizer: Tokenizer
    layout: Layout
    examples: Mapping[str, Mapping[str, Examples]]
    sources: Mapping[str, Source] = field(repr=False)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The input groups."""
        return self.layout.groups

    @property
    def outputs(self) -> Mapping[str, Output]:
        """What each task predicts."""
        return self.layout.outputs

    def splits(self, group: str) -> tuple[str, ...]:
        """The splits that a group has, of `train`, `validation` and `test`."""
        return tuple(self.examples[group])

    def training_batches(
        self,
        seed: int,
        *,
        ahead: int = 4,
        shard: tuple[int, int] = (0, 1),
        split: str = "train",
    ) -> StepIterator:
        """Endless batches of a split; see `mtljax.data.training_batches`.

        Raises:
            KeyError: if a group does not have the split.
        """
        return training_batches(
            {group.name: self.examples[group.name][split] for group in self.groups},
            {group.name: group.tasks for group in self.groups},
            self.layout.shapes,
            seed,
            ahead=ahead,
            shard=shard,
        )

    def evaluation_batches(
        self, group: str, split: str, rows: int | None = None
    ) -> Iterator[GroupBatch]:
        """One pass over a split of a group; see `mtljax.data.evaluation_batches`.

        Args:
            group: its name.
            split: one of `splits(group)`.
            rows: rows in a batch, if not as many as in training.

        Raises:
            KeyError: if there is no such group or split.
        """
        shape = self.layout.shapes[group]
        shape = shape if rows is None else replace(shape, rows=rows)
        examples = self.examples[group][split]
        return evaluation_batches(examples, self.layout.group(group).tasks, shape)


def load_data(
    tasks: Sequence[Task],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    tokenizer: Tokenizer | TokenizerSettings | None = None,
    row_length: int = 64,
    batch_tokens: int = 4096,
    attention: Callable[[Task], Attention] = attention_by_kind,
) -> MultitaskData:
    """Reads and tokenises the data of some tasks.

    Args:
        tasks: with unique names.
        data_dir: where data sets in TFDS format lie.
        tokenizer: a trained one, or how to train one on the training splits.
        row_length: ids in a row of a batch, the longest example.
        batch_tokens: ids in a step, padding included, over all groups.
        attention: how the encoder reads the inputs of each task.

    Returns:
        All splits of all tasks, ready to be batched.

    Raises:
        UserError: for a data set, feature, label or rate that cannot be used.
    """
    _check_arguments(tasks, row_length, batch_tokens)
    sources: dict[str, Source] = {}
    for task in tasks:
        if task.dataset not in sources:
            try:
                sources[task.dataset] = load_source(task.dataset, data_dir)
            except UserError as error:
                raise UserError(f"task {task.name!r}: {error}") from error
    groups = input_groups(tasks, sources, attention)
    if tokenizer is None or isinstance(tokenizer, TokenizerSettings):
        settings = tokenizer or TokenizerSettings()
        tokenizer = train_tokenizer(_corpora(groups, sources), settings)
    outputs = {task.name: task_output(task, sources[task.dataset], tokenizer) for task in tasks}
    examples = {
        group.name: {
            split: read_examples(group, split, sources, tokenizer, outputs, row_length)
            for split in SPLITS
            if split in sources[group.tasks[0].dataset].splits
        }
        for group in groups
    }
    layout = Layout(
        groups=groups,
        outputs=outputs,
        shapes=_shapes(groups, examples, tokenizer, batch_tokens, row_length),
        vocab_size=tokenizer.vocab_size,
        affix_buckets=tokenizer.settings.affix_buckets if tokenizer.settings.affixes else 0,
    )
    return MultitaskData(tokenizer, layout, examples, sources)


def input_batches(
    texts: Sequence[Text], group: str, layout: Layout, tokenizer: Tokenizer
) -> Iterator[GroupBatch]:
    """Batches of new texts, without targets, for a model's predictions.

    Args:
        texts: texts or lists of words.
        group: name of the input group that reads them.
        layout: of the data the model was trained on.
        tokenizer: that of the model.

    Yields:
        Evaluation batches whose `example` is the number of the text.
    """
    shape = layout.shapes[group]
    limit = min(shape.row_length, layout.group(group).max_length or shape.row_length)
    yield from evaluation_batches(encode_inputs(texts, tokenizer, limit), (), shape)


def _check_arguments(tasks: Sequence[Task], row_length: int, batch_tokens: int) -> None:
    if not tasks:
        raise UserError("no tasks")
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"duplicate task name {name!r}")
    if row_length < 2:
        raise UserError(f"row_length {row_length}: must be at least 2")
    if batch_tokens < row_length:
        raise UserError(f"batch_tokens {batch_tokens}: must be at least row_length, {row_length}")


def _corpora(groups: Sequence[Group], sources: Mapping[str, Source]) -> Iterator[Iterator[Text]]:
    # The same text is counted once, however many tasks and groups read it.
    seen = set()
    for group in groups:
        source = sources[group.tasks[0].dataset]
        if (source.identity, group.inputs) not in seen:
            seen.add((source.identity, group.inputs))
            yield (row[group.inputs] for row in source.splits["train"])


def _shapes(
    groups: Sequence[Group],
    examples: Mapping[str, Mapping[str, Examples]],
    tokenizer: Tokenizer,
    batch_tokens: int,
    row_length: int,
) -> dict[str, Shape]:
    train = {group.name: examples[group.name]["train"] for group in groups}
    rows = rows_per_group(
        groups,
        {name: len(split.tokens) for name, split in train.items()},
        {name: len(split) for name, split in train.items()},
        batch_tokens,
        row_length,
    )
    for name, count in rows.items():
        if count * row_length > _MAX_POSITIONS:
            raise UserError(
                f"input group {name!r}: a step of {count * row_length:.3g} positions is larger "
                f"than 2^31 - 1; make batch_size or batch_tokens smaller"
            )
    return {
        name: Shape(
            rows=rows[name],
            row_length=row_length,
            max_segments=pack(split.lengths, row_length).max_segments,
            affixes=tokenizer.settings.affixes,
        )
        for name, split in train.items()
    }
