"""Training batches and the extra batches of some weightings, all at the same position."""

import functools
from collections.abc import Iterator
from typing import Any

from mtljax.data import MultitaskData, StepBatch, StepIterator
from mtljax.data.batching.group_schedule import GroupSchedule
from mtljax.errors import UserError
from mtljax.parallel.processes import RowShare
from mtljax.presets import Config
from mtljax.step.extra import SECOND_BATCH, VALIDATION_BATCH, Extra

ALL_ROWS = RowShare()
"""All rows of a batch."""


def check_validation(data: MultitaskData, config: Config, requires: frozenset[str]) -> None:
    """Check that there are validation batches where the weighting reads them.

    Args:
      data: of all tasks.
      config: of the run.
      requires: signals that the weighting reads.

    Raises:
      UserError: naming the tasks of an input group whose validation split is missing or empty.
    """
    if not requires & VALIDATION_BATCH:
        return
    for group in data.groups:
        if not len(data.examples[group.name].get("validation", ())):
            names = ", ".join(task.name for task in group.tasks)
            raise UserError(
                f"weighting {config.weighting!r} reads validation data, and {names} has none"
            )


class AlignedStreams:
    """Training batches, each with the extra batches of its step.

    The streams advance together, so that the position of the training batches is that of all of
    them: a run resumes exactly from ``{"next_index": n}``.
    """

    def __init__(
        self,
        data: MultitaskData,
        config: Config,
        requires: frozenset[str],
        schedule: GroupSchedule | None = None,
        share: RowShare = ALL_ROWS,
    ) -> None:
        """Open the streams at the first step.

        Args:
          data: of all tasks.
          config: of the run: the seed and `config.batch` are read.
          requires: signals that the weighting reads, as in `mtljax.weighting.SIGNALS`; they say
            which extra batches there are.
          schedule: rows of each group in a step; by default that of a run of one step.
          share: the rows of every batch that this process makes.

        Raises:
          UserError: if the weighting reads validation data and a task has none.
        """
        batches = functools.partial(
            data.training_batches,
            schedule=schedule or data.schedule(1, config.seed),
            ahead=config.batch.ahead,
            workers=config.batch.workers,
            shard=share,
        )
        self._train = batches(config.seed)
        self._second = self._validation = None
        # Seeds of a run are below 2^32: each stream has an order of its own.
        if requires & SECOND_BATCH:
            self._second = batches(config.seed + 2**32)
        if requires & VALIDATION_BATCH:
            check_validation(data, config, requires)
            self._validation = batches(config.seed + 2**33, split="validation")

    def _streams(self) -> list[StepIterator]:
        streams = (self._train, self._second, self._validation)
        return [stream for stream in streams if stream is not None]

    def __iter__(self) -> Iterator[tuple[StepBatch, Extra]]:
        """Itself."""
        return self

    def __next__(self) -> tuple[StepBatch, Extra]:
        """The training batch of the next step and its extra batches, as NumPy arrays."""
        second = None if self._second is None else next(self._second)
        validation = None if self._validation is None else next(self._validation)
        return next(self._train), Extra(second, validation)

    def get_state(self) -> dict[str, Any]:
        """The position, as JSON."""
        return self._train.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a position that `get_state` returned."""
        for stream in self._streams():
            stream.set_state(state)

    def close(self) -> None:
        """End the threads and processes that make batches."""
        for stream in self._streams():
            stream.close()
