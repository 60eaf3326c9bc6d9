"""Agreement among the processes of a run: an error of one is an error of all.

With one process all of this is what that process does alone.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax

from mtljax.errors import UserError
from mtljax.parallel.processes import gather_texts

T = TypeVar("T")

_LOST = re.compile(
    r"gloo|nccl|barrier|heartbeat|coordination (service|agent)|connection (reset|closed|refused)"
    r"|socket closed|peer",
    re.IGNORECASE,
)
_DIGEST = 8  # hexadecimal digits of a CRC-32
_AT_ONCE = 200  # digests that fit in one exchange of texts


class CollectiveError(UserError):
    """An error that all processes raise at the same point, so that none waits for another."""


def is_writer() -> bool:
    """Whether this is the process that writes logs, metrics, figures and the configuration."""
    return jax.process_index() == 0


def on_all_processes(do: Callable[[], T]) -> T:
    """Call a function in every process; if it fails in one, raise its error in all.

    Args:
      do: a function without arguments, called once in each process.

    Returns:
      What the function returned in this process.

    Raises:
      CollectiveError: with the message of the first process in which `do` raised a `UserError`,
        and the number of that process if the others did not raise the same.
      UserError: of `do` itself, where there is one process.
    """
    if jax.process_count() == 1:
        return do()
    result, error = None, ""
    try:
        result = do()
    except UserError as raised:
        error = str(raised) or "failed"
    errors = gather_texts(error)
    if any(errors):
        first = next(number for number, text in enumerate(errors) if text)
        where = "" if len(set(errors)) == 1 else f"process {first}: "
        raise CollectiveError(f"{where}{errors[first]}")
    return result  # pyright: ignore[reportReturnType]


def collective_error(error: UserError) -> UserError:
    """An error that every process is known to raise here, marked as such where there are several.

    Args:
      error: the error, with the same message in every process.

    Returns:
      A `CollectiveError` with this message; with one process, the error itself.
    """
    return CollectiveError(str(error)) if jax.process_count() > 1 else error


def check_same(make: Callable[[], Mapping[str, str]]) -> None:
    """Check that all processes have the same values.

    Args:
      make: returns the values by name, each written out as a text; not called where there is one
        process.

    Raises:
      CollectiveError: with the names of those that differ, and in which process.
    """
    if jax.process_count() == 1:
        return
    # A digest of each, for the texts themselves are longer than what can be exchanged at once.
    digests = {name: f"{zlib.crc32(value.encode()):08x}" for name, value in make().items()}
    names = list(digests)
    for start in range(0, len(names), _AT_ONCE):
        portion = names[start : start + _AT_ONCE]
        texts = gather_texts("".join(digests[name] for name in portion))
        different = [number for number, text in enumerate(texts) if text != texts[0]]
        if not different:
            continue
        first, second = (_split(texts[number]) for number in (0, different[0]))
        differing = [
            name
            for i, name in enumerate(portion)
            if len(first) != len(second) or first[i] != second[i]
        ]
        raise CollectiveError(
            f"process {different[0]} was started with another {', '.join(differing)} than process "
            "0; start all with the same command, on the same data"
        )


def _split(digests: str) -> list[str]:
    return [digests[i : i + _DIGEST] for i in range(0, len(digests), _DIGEST)]


def is_loss_of_process(error: BaseException) -> bool:
    """Whether an error is that of a computation whose other processes have ended."""
    return (
        jax.process_count() > 1
        and isinstance(error, ValueError | RuntimeError)
        and _LOST.search(str(error)) is not None
    )
