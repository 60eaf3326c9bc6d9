"""What threads of Orbax say after a checkpoint could not be written, which was said once."""

import functools
import sys
import threading
import warnings
from types import TracebackType
from typing import Any

_installed = threading.Event()


def quiet_late_errors() -> None:
    """Keep what these threads say out of the output, from now on; all else is shown as before.

    The first array that cannot be written ends the event loop of the others, whose threads then
    each print a traceback about that, some of them after the error has been raised.
    """
    if _installed.is_set():
        return
    _installed.set()
    sys.excepthook = functools.partial(_uncaught, sys.excepthook)
    sys.unraisablehook = functools.partial(_unraisable, sys.unraisablehook)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def _is_late(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and str(error) == "Event loop is closed"


def _uncaught(
    before: Any, kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not _is_late(error):
        before(kind, error, trace)


def _unraisable(before: Any, said: Any) -> None:
    if not _is_late(said.exc_value):
        before(said)
