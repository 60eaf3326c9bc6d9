"""What the processes of a run do and find out together; with one process, what it does alone."""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax

from mtljax.errors import UserError
from mtljax.parallel import gather_texts

T = TypeVar("T")

_LOST = re.compile(
    r"gloo|nccl|barrier|heartbeat|coordination (service|agent)|connection (reset|closed|refused)"
    r"|socket closed|peer",
    re.IGNORECASE,
)


class CollectiveError(UserError):
    """An error that all processes have at the same point."""


def is_writer() -> bool:
    """Whether this is the process that writes logs, metrics, figures and the configuration."""
    return jax.process_index() == 0


def on_all_processes(do: Callable[[], T]) -> T:
    """Do something in every process; what goes wrong in one is an error of all.

    Raises:
      CollectiveError: with the message of the first process in which `do` raised a `UserError`,
        and the number of that process if the others did not raise the same.
    """
    if jax.process_count() == 1:
        return do()
    found, error = None, ""
    try:
        found = do()
    except UserError as raised:
        error = str(raised) or "failed"
    errors = gather_texts(error)
    if any(errors):
        first = next(number for number, text in enumerate(errors) if text)
        where = "" if len(set(errors)) == 1 else f"process {first}: "
        raise CollectiveError(f"{where}{errors[first]}")
    return found  # pyright: ignore[reportReturnType]


def collective_error(error: UserError) -> UserError:
    """An error that is known to be that of all processes, as such."""
    return CollectiveError(str(error)) if jax.process_count() > 1 else error


def check_same(make: Callable[[], Mapping[str, str]]) -> None:
    """Check that all processes have the same values.

    Args:
      make: returns them by name, what each is written out.

    Raises:
      CollectiveError: with the names of those that differ, and in which process.
    """
    if jax.process_count() == 1:
        return
    # Eight digits of each, so that many fit what can be exchanged.
    own = {name: f"{zlib.crc32(value.encode()):08x}" for name, value in make().items()}
    for names in _portions(list(own), 200):
        found = gather_texts("".join(own[name] for name in names))
        other = [number for number, text in enumerate(found) if text != found[0]]
        if not other:
            continue
        texts = [found[0], found[other[0]]]
        first, second = ([text[i : i + 8] for i in range(0, len(text), 8)] for text in texts)
        differing = [
            name
            for i, name in enumerate(names)
            if len(first) != len(second) or first[i] != second[i]
        ]
        raise CollectiveError(
            f"process {other[0]} was started with another {', '.join(differing)} than process 0; "
            "start all with the same command, on the same data"
        )


def _portions(names: list[str], size: int) -> list[list[str]]:
    return [names[i : i + size] for i in range(0, len(names), size)]


def is_loss_of_process(error: BaseException) -> bool:
    """Whether an error is that of a computation whose other processes are gone."""
    return (
        jax.process_count() > 1
        and isinstance(error, ValueError | RuntimeError)
        and _LOST.search(str(error)) is not None
    )
