"""Locks of open files, which the system takes away when their process ends."""

import errno

_HELD = (errno.EAGAIN, errno.EACCES)
_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


def try_lock(file: int) -> bool | None:
    """Lock an open file, until it is closed or this process ends.

    Args:
      file: its descriptor, opened for writing.

    Returns:
      Whether it is locked now: not if another process, or thread, has done so. None where there
      are no locks.

    Raises:
      OSError: if it cannot be locked for another reason.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except ImportError:
        return None
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        if error.errno in _HELD:
            return False
        raise
