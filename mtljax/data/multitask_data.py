"""The tokenised data of a run, as training and evaluation read it in batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mtljax.data.batching.batches import GroupBatch, evaluation_batches
from mtljax.data.batching.group_schedule import AllGroups, GroupSchedule, GroupSubset
from mtljax.data.batching.mixture import MixtureSettings, group_rates, inclusion, progress
from mtljax.data.batching.row_order import RowPlan, plan_rows
from mtljax.data.batching.training_batches import Shard, StepIterator, Stream, training_batches
from mtljax.data.batching.word_renaming import Renaming
from mtljax.data.encoding.examples import Examples, encode_inputs
from mtljax.data.encoding.input_groups import Group
from mtljax.data.layout import Layout
from mtljax.data.sources.source import Source
from mtljax.data.tokenizers import Text, Tokenizer
from mtljax.data.tokenizers.subword import special_ids
from mtljax.kinds import KINDS, Output


@dataclass(frozen=True)
class MultitaskData:
    """Tokenised data of several tasks, in memory or mapped from a cache.

    Attributes:
        tokenizer: how text becomes ids.
        layout: groups, outputs and shapes.
        examples: tokenised examples by name of group and of split.
        plans: the packed rows of each group's training split.
        stages: rows of each group in a step that reads it, by stage of the run.
        mixture: how groups share the steps.
        sources: the data sets, by name.
        fingerprints: hexadecimal digests of their content, by name of data set; None where a data
            set has none.
    """

    tokenizer: Tokenizer
    layout: Layout
    examples: Mapping[str, Mapping[str, Examples]]
    plans: Mapping[str, RowPlan]
    stages: Sequence[Mapping[str, int]]
    mixture: MixtureSettings
    sources: Mapping[str, Source] = field(repr=False)
    fingerprints: Mapping[str, str | None] = field(repr=False)

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

    def rates(self, stage: int = 0) -> dict[str, float]:
        """The share of a step's tokens that each group should have, before rounding to rows."""
        sizes = {name: int(splits["train"].starts[-1]) for name, splits in self.examples.items()}
        return group_rates(self.groups, sizes, self.mixture, progress(stage, len(self.stages)))

    def schedule(self, steps: int, seed: int) -> GroupSchedule:
        """The rows that each step of a run reads.

        Args:
            steps: of the run.
            seed: decides between groups that are equally far behind their shares, where a step
                reads some of them.
        """
        count = self.mixture.groups_in_step(len(self.groups))
        if not count:
            return AllGroups(self.stages, steps)
        shares = [inclusion(self.rates(stage), count) for stage in range(len(self.stages))]
        return GroupSubset(self.stages[0], shares, steps, [seed])

    def training_batches(
        self,
        seed: int,
        *,
        schedule: GroupSchedule | None = None,
        ahead: int = 4,
        workers: int = 0,
        shard: Shard = (0, 1),
        split: str = "train",
    ) -> StepIterator:
        """Endless batches of a split; see `mtljax.data.batching.training_batches`.

        Args:
            seed: of the order in which examples are read, from 0.
            schedule: rows of each group in a step, from `schedule`; by default that of a run of one
                step, with this seed.
            ahead: batches that are made ahead (by each worker).
            workers: processes that make them; 0 for a thread.
            shard: `(i, n)` for the `i`-th of `n` equal parts of every batch's rows.
            split: name of the split.

        Returns:
            An iterator over a `StepBatch` for each step, whose position can be saved and set.

        Raises:
            KeyError: if a group does not have the split.
        """
        streams = {}
        for group in self.groups:
            shape = self.layout.shapes[group.name]
            examples = self.examples[group.name][split]
            # Plans of training splits are kept in the cache; others are needed by few weightings.
            plan = self.plans[group.name]
            if split != "train":
                plan = plan_rows(examples, shape.row_length, shape.max_segments)
            renaming = self._renaming(group) if split == "train" else None
            streams[group.name] = Stream(examples, plan, group.tasks, shape, renaming)
        schedule = schedule or self.schedule(1, seed)
        return training_batches(streams, schedule, seed, ahead=ahead, workers=workers, shard=shard)

    def _renaming(self, group: Group) -> Renaming | None:
        task = group.tasks[0]
        if not task.rename_words:
            return None
        output = self.outputs[task.name]
        assert output.ids is not None
        # A word is renamed to any that the task can write, so that its target has a class.
        classes = output.class_of_id(self.layout.vocab_size)
        special = special_ids(self.tokenizer)
        names = output.ids[~np.isin(output.ids, list(special))]
        return Renaming(task.rename_words, classes, names, special)

    def epochs(self, schedule: GroupSchedule, step: int) -> dict[str, float]:
        """Passes of each task over its training split in the steps before this one."""
        read = schedule.rows_before(step)
        return {
            task: read[group.name] / self.plans[group.name].num_rows
            for task in self.outputs
            for group in (self.layout.group_of(task),)
        }

    def evaluation_batches(
        self, group: str, split: str, rows: int | None = None
    ) -> Iterator[GroupBatch]:
        """One pass over a split of a group, each example exactly once.

        Args:
            group: name of the group.
            split: one of `splits(group)`.
            rows: rows in a batch; by default as many as in training.

        Returns:
            Batches with `example`, int32 `[R, N]`: the row of the split of each segment.

        Raises:
            KeyError: if there is no such group or split.
        """
        shape = self.layout.shapes[group]
        shape = shape if rows is None else replace(shape, rows=rows)
        examples = self.examples[group][split]
        return evaluation_batches(examples, self.layout.group(group).tasks, shape)

    @property
    def skipped_targets(self) -> dict[str, dict[str, int]]:
        """Rows that do not count for a task that cannot use them, by task and split."""
        return self._counts("skipped")

    @property
    def skipped_rows(self) -> dict[str, dict[str, int]]:
        """Malformed rows that were left out, by data set and split."""
        return self._counts("malformed")

    @property
    def cut_texts(self) -> dict[str, dict[str, dict[str, float]]]:
        """The shares of texts that are cut, and of words not read, by task and split.

        Only of splits where a task loses some. Taggers lose none outside of train.
        """
        shares: dict[str, dict[str, dict[str, float]]] = {}
        for group in self.groups:
            for split, examples in self.examples[group.name].items():
                cut = examples.cut
                if not cut.get("cut_texts"):
                    continue
                share = {name: cut[f"cut_{name}"] / cut[name] for name in ("texts", "words")}
                for task in group.tasks:
                    if split == "train" or not KINDS[task.kind].reads_whole_texts:
                        shares.setdefault(task.name, {})[split] = share
        return shares

    def _counts(self, name: str) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for splits in self.examples.values():
            for split, examples in splits.items():
                for key, count in getattr(examples, name).items():
                    counts.setdefault(key, {})[split] = count
        return counts


def input_batches(
    texts: Sequence[Text] | Sequence[tuple[Text, ...]],
    group: str,
    layout: Layout,
    tokenizer: Tokenizer,
) -> Iterator[GroupBatch]:
    """Batches of new texts, without targets, for a model's predictions.

    Args:
        texts: texts or lists of words; for a group that reads several features, tuples of them.
        group: name of the input group that reads them.
        layout: layout of the data that the model was trained on.
        tokenizer: tokenizer of the model.

    Yields:
        Evaluation batches whose `example` is the number of the text.
    """
    shape = layout.shapes[group]
    input_group = layout.group(group)
    limit = min(shape.row_length, input_group.max_length or shape.row_length)
    examples = encode_inputs(texts, tokenizer, limit, len(input_group.parts), shape.words)
    yield from evaluation_batches(examples, (), shape)
