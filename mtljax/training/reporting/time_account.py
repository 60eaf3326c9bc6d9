"""An account of where the wall time of a run went, over all its starts."""

import contextlib
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from mtljax.training.reporting.metrics_file import read_metrics

PARTS = (
    *("productive", "compiling", "data", "checkpoint", "evaluation"),
    *("lost", "stopped", "other"),
)
"""What time goes into.

Steps whose results stand; tracing and compiling; reading and waiting for data; saving and restoring
checkpoints; evaluation; what was done after the checkpoint that a run went on from, and was done
again; when nothing ran; anything else.
"""

PREFIX = "seconds/"
"""Of the names of the account's parts among metrics."""

NAME = ".times.jsonl"
"""A line where a run starts, goes on and ends, each time: what the account is read from."""

_COMPILING = "/jax/core/compile/"  # events of JAX: tracing, lowering, compiling


class TimeAccount:
    """Seconds by part, which add up to the time from the first start of a run to now.

    It reads clocks on the host alone and waits for no device. Within `spent` time goes into the
    part that is named, innermost first; what JAX says it compiled, in this thread, goes into
    'compiling' wherever it happens.

    Attributes:
      step: steps done, which the loop keeps up to date.
    """

    def __init__(self) -> None:
        """Start the clock."""
        self.step = 0
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._parts = ["other"]
        self._last = time.perf_counter()
        self._began = time.time()
        self._thread = threading.get_ident()
        self._compiled: list[tuple[float, float]] = []  # since `_last`: start, seconds
        self._history: _History | None = None
        self._path: Path | None = None

    def _advance(self) -> None:
        now = time.perf_counter()
        self._seconds[self._parts[-1]] += now - self._last
        self._last = now
        self._compiled.clear()

    @contextlib.contextmanager
    def spent(self, part: str) -> Iterator[None]:
        """Have the time of a `with` block go into a part."""
        self._advance()
        self._parts.append(part)
        try:
            yield
        finally:
            self._advance()
            self._parts.pop()

    def move(self, seconds: float, part: str) -> None:
        """Have seconds that went into the part of now go into another one."""
        self._seconds[self._parts[-1]] -= seconds
        self._seconds[part] += seconds

    def on_event(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        """Hear from JAX how long something took that has just ended."""
        if not event.startswith(_COMPILING) or threading.get_ident() != self._thread:
            return
        now = time.perf_counter()
        start = max(now - duration_secs, self._last)
        inside = 0.0
        # Of what is traced within what is traced, JAX tells both, the inner one first.
        while self._compiled and self._compiled[-1][0] >= start:
            inside += self._compiled.pop()[1]
        self._compiled.append((start, now - start))
        self.move(max(now - start - inside, 0.0), "compiling")

    def seconds(self) -> dict[str, float]:
        """Seconds by part until now, with 'wall', their sum, first."""
        self._advance()
        return {"wall": sum(self._seconds.values()), **self._seconds}

    def logged(self) -> dict[str, float]:
        """The same as metrics, by `PREFIX` and name."""
        return {f"{PREFIX}{name}": round(value, 3) for name, value in self.seconds().items()}

    def open(self, directory: Path) -> None:
        """Read what earlier starts left in the directory of a run, and note this one.

        Where that cannot be read or written the account is of this start alone.

        Args:
          directory: of the run, whose lock this process holds.
        """
        self._history, self._path = _read_history(directory), directory / NAME
        self._write({"start": self._began})

    def go_on_from(self, step: int) -> None:
        """Take over the account of what stands: of the steps to the checkpoint that is restored.

        Args:
          step: of the checkpoint; -1 where there is none.
        """
        self.step = max(step, 0)
        if self._history is None or self._history.first is None:
            return
        kept = max(
            (entry for entry in self._history.entries if entry.step <= step),
            key=lambda entry: entry.wall,
            default=_Entry(0, dict.fromkeys(PARTS, 0.0)),
        )
        lost = max(self._history.alive - kept.wall, 0.0)
        stopped = max(self._began - self._history.first - kept.wall - lost, 0.0)
        for part, seconds in {**kept.seconds, "lost": kept.seconds["lost"] + lost}.items():
            self._seconds[part] += seconds
        self._seconds["stopped"] += stopped
        self._note()

    def close(self) -> None:
        """Note that this start ends here."""
        self._note()
        self._path = None

    def _note(self) -> None:
        self._write({"time": time.time(), "step": self.step, "seconds": self.seconds()})

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError), self._path.open("a", encoding="ascii") as file:
                file.write(json.dumps(line) + "\n")


@contextlib.contextmanager
def time_account() -> Iterator[TimeAccount]:
    """An account of the time from here on, which is closed in the end."""
    account = TimeAccount()
    jax.monitoring.register_event_duration_secs_listener(account.on_event)
    try:
        yield account
    finally:
        jax.monitoring.unregister_event_duration_listener(account.on_event)
        account.close()


class _Entry(NamedTuple):
    """The account after a number of steps."""

    step: int
    seconds: dict[str, float]

    @property
    def wall(self) -> float:
        return sum(self.seconds.values())


class _History(NamedTuple):
    """What earlier starts left.

    Attributes:
      first: when the first of them began, in seconds of the clock; None where nothing says so.
      alive: seconds from then to the last sign that one of them ran.
      entries: the accounts that they wrote.
    """

    first: float | None
    alive: float
    entries: list[_Entry]


def _read_history(directory: Path) -> _History:
    starts, alive, entries = [], [], []
    with contextlib.suppress(OSError):
        lines = (directory / NAME).read_text(encoding="ascii", errors="replace").splitlines()
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                if "start" in entry:
                    starts.append(_number(entry["start"]))
                else:
                    alive.append(_number(entry["time"]))
                    entries.append(_entry(entry["step"], entry["seconds"]))
    with contextlib.suppress(OSError):
        for line in read_metrics(directory):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                named = {part: line[f"{PREFIX}{part}"] for part in PARTS}
                entries.append(_entry(line["step"], named))
    if not starts:
        return _History(None, 0.0, [])
    first = min(starts)
    times = [*starts, *alive]
    walls = [entry.wall for entry in entries]
    return _History(first, max([time - first for time in times] + walls), entries)


def _entry(step: Any, seconds: Mapping[str, Any]) -> _Entry:
    return _Entry(int(step), {part: _number(seconds[part]) for part in PARTS})


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(value)
    return float(value)
