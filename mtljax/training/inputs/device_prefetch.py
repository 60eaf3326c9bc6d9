"""Batches on the device, or devices, before a step asks for them."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from mtljax.data import StepBatch
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.inputs.extra import Extra


class PrefetchedBatch(NamedTuple):
    """What a step reads.

    Attributes:
      batch: the training batch, on the device.
      extra: the extra batches, on the device.
      tokens: real tokens of the training batch; with several processes an estimate, from the rows
        of this one.
      positions: its positions, padding included.
      rows: of each input group: batches of equal rows run the same compiled step.
    """

    batch: Any
    extra: Extra
    tokens: int
    positions: int
    rows: tuple[int, ...]


class DevicePrefetch:
    """Moves the batches of some streams to the device, some of them ahead.

    `refill`, called when a step has been dispatched, does so while that step is under way. The
    position is that of the batches handed out, whatever lies ready.
    """

    def __init__(
        self,
        streams: AlignedStreams,
        ahead: int = 2,
        place: Callable[[Any], Any] = jax.device_put,
        share: float = 1.0,
    ) -> None:
        """DevicePrefetch from ``streams``, with ``ahead`` batches ready where ``place`` puts them.

        ``share`` is that of the rows which this process has: what it counts is multiplied up.
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
        fed, self._state = self._ready.popleft()
        return fed

    def refill(self) -> None:
        """Have as many batches ready as are to be."""
        while len(self._ready) < self._ahead:
            self._fetch()

    def _fetch(self) -> None:
        batch, extra = next(self._streams)
        tokens, positions, rows = _sizes(batch)
        batch, extra = self._place((batch, extra))
        tokens, positions = round(tokens / self._share), round(positions / self._share)
        fed = PrefetchedBatch(batch, extra, tokens, positions, rows)
        self._ready.append((fed, self._streams.get_state()))

    def get_state(self) -> dict[str, Any]:
        """The position, as JSON."""
        return self._state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to a position."""
        self._ready.clear()
        self._streams.set_state(state)
        self._state = self._streams.get_state()

    def close(self) -> None:
        """End the threads and processes behind it."""
        self._ready.clear()
        self._streams.close()


def _sizes(batch: StepBatch) -> tuple[int, int, tuple[int, ...]]:
    segments = [rows["segments"] for rows in batch.values()]
    tokens = sum(int((array > 0).sum()) for array in segments)
    return tokens, sum(array.size for array in segments), tuple(len(array) for array in segments)
