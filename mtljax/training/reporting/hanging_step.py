"""Stack traces of a step that takes too long."""

import faulthandler
import io
import sys
import time
from typing import TextIO

_OFTEN = 1.0  # seconds between two settings of the clock at least: each starts a thread


class HangingStep:
    """Has Python print where all threads are, on stderr, when a step takes longer than a bound.

    It prints from a thread of its own, whatever hangs, and the run is left as it is.
    """

    def __init__(self, seconds: float) -> None:
        """Watch nothing yet.

        Args:
          seconds: the bound; 0 for none.
        """
        self._seconds, self._set = seconds, 0.0
        self._file = _stderr() if seconds else None

    def begin(self) -> None:
        """Note that a step begins; what was to be printed for the one before is not."""
        if self._file is None:
            return
        now = time.monotonic()
        if now - self._set >= min(_OFTEN, self._seconds / 10):
            self._set = now
            faulthandler.dump_traceback_later(self._seconds, file=self._file)

    def end(self) -> None:
        """Watch no more until the next step begins."""
        if self._file is not None:
            self._set = 0.0
            faulthandler.cancel_dump_traceback_later()


def _stderr() -> TextIO | None:
    for file in (sys.stderr, sys.__stderr__):
        try:
            if file is not None and file.fileno() >= 0:
                return file
        except (io.UnsupportedOperation, ValueError):
            continue
    return None
