"""The batches that a step reads: training data, and what some weightings ask for besides."""

import functools
from collections.abc import Iterator
from typing import Any

from mtljax.data import MultitaskData, StepBatch, StepIterator
from mtljax.errors import UserError
from mtljax.parallel import Share
from mtljax.presets import Config
from mtljax.training.inputs.extra import SECOND_BATCH, VALIDATION_BATCH, Extra

WHOLE = Share()
"""All rows."""


class AlignedStreams:
    """Training batches with their extra batches, all at one position.

    The position is that of the training batches: the others follow it, so that a run resumes
    exactly from ``{"next_index": n}``.
    """

    def __init__(
        self,
        data: MultitaskData,
        config: Config,
        requires: frozenset[str],
        steps: int = 1,
        share: Share = WHOLE,
    ) -> None:
        """Open the streams that a weighting with these signals reads in a run of ``steps``.

        Of every batch there are the rows of ``share``.

        Raises:
          UserError: if it reads validation data and a task has none.
        """
        batches = functools.partial(
            data.training_batches,
            turns=data.turns(steps, config.seed),
            ahead=config.batch.ahead,
            workers=config.batch.workers,
            shard=share,
        )
        self._train = batches(config.seed)
        self._second = self._validation = None
        # Orders of their own: seeds of a run are below 2^32.
        if requires & SECOND_BATCH:
            self._second = batches(config.seed + 2**32)
        if requires & VALIDATION_BATCH:
            for group in data.groups:
                if "validation" not in data.splits(group.name):
                    names = ", ".join(task.name for task in group.tasks)
                    raise UserError(
                        f"weighting {config.weighting!r} reads validation data, and "
                        f"{names} has none"
                    )
            self._validation = batches(config.seed + 2**33, split="validation")

    def _open(self) -> list[StepIterator]:
        every = (self._train, self._second, self._validation)
        return [stream for stream in every if stream is not None]

    def __iter__(self) -> Iterator[tuple[StepBatch, Extra]]:
        """Itself."""
        return self

    def __next__(self) -> tuple[StepBatch, Extra]:
        """The batch of the next step, and its extra batches."""
        second = None if self._second is None else next(self._second)
        validation = None if self._validation is None else next(self._validation)
        return next(self._train), Extra(second, validation)

    def get_state(self) -> dict[str, Any]:
        """The position, as JSON."""
        return self._train.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a position."""
        for stream in self._open():
            stream.set_state(state)

    def close(self) -> None:
        """End the threads and processes."""
        for stream in self._open():
            stream.close()
