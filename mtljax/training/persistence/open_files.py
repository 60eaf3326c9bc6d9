"""How many files a process may have open: checkpoints are written by several threads at once."""

import contextlib

from mtljax.errors import UserError

NEEDED = 64
"""Open files that a run has at most, with its libraries, data and checkpoints; measured."""

_WANTED = 1024


def allow_open_files() -> None:
    """Allow as many open files as the system lets, up to a usual number.

    Raises:
      UserError: if they are too few for checkpoints to be written and read: the threads that do it
        would end, or wait for each other.
    """
    try:
        import resource
    except ImportError:  # not a system that has such limits
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    if soft != resource.RLIM_INFINITY and soft < NEEDED:
        raise UserError(
            f"too few open files are allowed: {soft}, of {NEEDED} that are needed (ulimit -n)"
        )
