"""Compiled programs that are kept in a directory, from one start of a process to the next."""

import contextlib
import os
from collections.abc import Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

_SECONDS = "jax_persistent_cache_min_compile_time_secs"
_SIZE = "jax_persistent_cache_min_entry_size_bytes"
_DIRECTORY = "jax_compilation_cache_dir"


def keeps_programs() -> bool:
    """Whether compiled programs are kept already, as the environment of the process may say."""
    return bool(getattr(jax.config, _DIRECTORY))


@contextlib.contextmanager
def kept_programs(directory: str | os.PathLike[str], seconds: float = 0.0) -> Iterator[None]:
    """While it lasts, programs are read from a directory, and written there when compiled.

    It is JAX's persistent cache, whose settings are as before in the end. What was compiled for
    this kind of device, by these versions of JAX and XLA, is found again; anything else is not.

    Args:
      directory: where they are kept; several processes may share it.
      seconds: programs that compile faster are not kept.
    """
    changed = {_SECONDS: seconds, _SIZE: -1, _DIRECTORY: os.fspath(directory)}
    before = {name: getattr(jax.config, name) for name in changed}
    try:
        for name, value in changed.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
