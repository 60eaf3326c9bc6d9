"""Batches that are copied to the devices before their steps read them."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from mtljax.data import StepBatch
from mtljax.step.extra import Extra
from mtljax.training.inputs.aligned_streams import AlignedStreams


class PrefetchedBatch(NamedTuple):
    """The inputs of a step, on the devices.

    Attributes:
      batch: the training batch.
      extra: the extra batches.
      tokens: real tokens of the training batch; with several processes an estimate from the rows
        that this process makes.
      positions: its positions, padding included; likewise an estimate.
      rows: number of rows of each input group: batches of equal rows run the same compiled step.
    """

    batch: Any
    extra: Extra
    tokens: int
    positions: int
    rows: tuple[int, ...]


class DevicePrefetch:
    """An iterator over batches that copies some of them to the devices ahead of time.

    `refill` copies; called when a step has been dispatched, it does so while the devices work on
    that step. The position is that of the batches handed out, however many are ready.
    """

    def __init__(
        self,
        streams: AlignedStreams,
        ahead: int = 2,
        place: Callable[[Any], Any] = jax.device_put,
        share: float = 1.0,
    ) -> None:
        """Copy nothing yet.

        Args:
          streams: where the batches come from; `close` closes them.
          ahead: batches that `refill` leaves ready on the devices.
          place: copies a tree of arrays to the devices.
          share: the share of every batch's rows that this process makes, by which its counts are
            divided.
        """
        self._streams, self._ahead, self._place, self._share = streams, ahead, place, share
        self._ready: deque[tuple[PrefetchedBatch, dict[str, Any]]] = deque()
        self._state = streams.get_state()

    def __iter__(self) -> Iterator[PrefetchedBatch]:
        """Itself."""
        return self

    def __next__(self) -> PrefetchedBatch:
        """The batch of the next step."""
        if not self._ready:
            self._fetch()
        batch, self._state = self._ready.popleft()
        return batch

    def refill(self) -> None:
        """Copy batches until ``ahead`` of them are ready."""
        while len(self._ready) < self._ahead:
            self._fetch()

    def _fetch(self) -> None:
        batch, extra = next(self._streams)
        tokens, positions, rows = _count(batch)
        batch, extra = self._place((batch, extra))
        tokens, positions = round(tokens / self._share), round(positions / self._share)
        prefetched = PrefetchedBatch(batch, extra, tokens, positions, rows)
        self._ready.append((prefetched, self._streams.get_state()))

    def get_state(self) -> dict[str, Any]:
        """The position, as JSON."""
        return self._state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a position that `get_state` returned."""
        self._ready.clear()
        self._streams.set_state(state)
        self._state = self._streams.get_state()

    def close(self) -> None:
        """Free the batches that are ready, and end the threads and processes that make them."""
        self._ready.clear()
        self._streams.close()


def _count(batch: StepBatch) -> tuple[int, int, tuple[int, ...]]:
    segments = [rows["segments"] for rows in batch.values()]
    tokens = sum(int((array > 0).sum()) for array in segments)
    return tokens, sum(array.size for array in segments), tuple(len(array) for array in segments)
