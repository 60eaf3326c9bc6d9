"""Programs of a study that are compiled once, whatever the number of its runs."""

import contextlib
import tempfile
from collections.abc import Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

_SECONDS = "jax_persistent_cache_min_compile_time_secs"
_SIZE = "jax_persistent_cache_min_entry_size_bytes"
_DIRECTORY = "jax_compilation_cache_dir"


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """While it lasts, a program that was compiled before is not compiled again.

    Runs of several seeds, and their evaluations, are the same programs. They are kept in a
    directory of their own, which goes at the end: what is compiled for this processor is of no use
    to another. Where the process keeps its programs anyway, it is left to do so.
    """
    if getattr(jax.config, _DIRECTORY):
        yield
        return
    before = {name: getattr(jax.config, name) for name in (_SECONDS, _SIZE, _DIRECTORY)}
    with tempfile.TemporaryDirectory(prefix="mtljax-") as directory:
        changed = {_SECONDS: 0.1, _SIZE: -1, _DIRECTORY: directory}
        try:
            for name, value in changed.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()
