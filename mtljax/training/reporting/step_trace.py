"""Some steps of a run, traced by JAX's profiler."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax

from mtljax.errors import UserError
from mtljax.presets import ProfileWindow

DIRECTORY = "profile"
"""Where traces lie in the directory of a run."""


class StepTrace:
    """Traces the steps of a window; of other steps it does nothing.

    `step` is around the dispatch of each step; where `ends` is true of one, `stop` is called when
    the devices have done it.
    """

    def __init__(self, directory: Path, window: ProfileWindow, *, writes: bool = True) -> None:
        """Trace nothing yet.

        Args:
          directory: of the run.
          window: of the steps.
          writes: False where another process traces.
        """
        self._directory, self._window = directory / DIRECTORY, window
        self._traces, self._running = writes and window.start > 0, False

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Mark a step in the trace, which begins with the first step of the window.

        Raises:
          UserError: if something else traces this process.
        """
        if not self._traces or not self._window.start <= number <= self._window.last:
            yield
            return
        if number == self._window.start:
            try:
                jax.profiler.start_trace(str(self._directory))
            except RuntimeError as error:
                raise UserError(f"profile: {error}") from None
            self._running = True
        with jax.profiler.StepTraceAnnotation("step", step_num=number):
            yield

    def ends(self, number: int) -> bool:
        """Whether a trace ends with this step."""
        return self._running and number == self._window.last

    def stop(self) -> Path | None:
        """Write the trace, if there is one; return its directory."""
        if not self._running:
            return None
        self._running = False
        jax.profiler.stop_trace()
        return self._directory
