"""Errors of a machine that has no more of something: disk, memory, open files."""

import errno
import os

_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_TEXTS = (*map(os.strerror, _ERRORS), "can't start new thread")


def exhausted(error: BaseException) -> str | None:
    """What a machine has no more of.

    Args:
      error: that ended a command.

    Returns:
      A line about it, None for any other error.

    >>> exhausted(OSError(errno.ENOSPC, "No space left on device", "out.txt"))
    'out.txt: No space left on device'
    >>> exhausted(KeyError("x"))
    """
    if isinstance(error, OSError) and error.errno in _ERRORS:
        reason = error.strerror or os.strerror(error.errno)
        return reason if error.filename is None else f"{error.filename}: {reason}"
    if isinstance(error, MemoryError):
        # NumPy says how much it was.
        return "not enough memory" + (f": {error}" if str(error) else "")
    if not isinstance(error, OSError | ImportError | RuntimeError):
        return None
    text = str(error)
    if "RESOURCE_EXHAUSTED" in text and "ut of memory" in text:
        return f"not enough memory on the device: {text.partition('RESOURCE_EXHAUSTED: ')[2][:200]}"
    return next((reason for reason in _TEXTS if reason in text), None)
