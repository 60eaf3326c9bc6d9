"""The digests of the files of a run, without its checkpoints, which have their own."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from mtljax.digests import (
    NAME,
    Digests,
    check_files,
    content_digest,
    dump_digests,
    file_digest,
    read_digests,
)
from mtljax.errors import UserError
from mtljax.training.persistence.atomic_write import replace_text


def run_digests(directory: Path) -> Digests | None:
    """The digests of the files of a run, None for a run of an older version.

    Raises:
      UserError: if they are damaged themselves.
    """
    try:
        return read_digests(directory)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{directory}: {NAME}: {reason}; remove it, if the files of the run are to be used "
            "without a check"
        ) from None


def write_digests(directory: Path, digests: Mapping[str, Iterable[str]]) -> None:
    """Write the digests of files of a run.

    Args:
      directory: of the run.
      digests: by the name of each file, those it may have.

    Raises:
      OSError: if they cannot be written.
    """
    replace_text(directory / NAME, dump_digests(digests))


def unchanged(directory: Path, name: str) -> Path:
    """The path of a file of a run, if it is as the run wrote it, or if that is not known.

    Args:
      directory: of the run.
      name: of the file.

    Raises:
      UserError: naming the file, if it has changed.
    """
    before = None
    while (digests := run_digests(directory)) is not None and name in digests:
        try:
            check_files(directory, digests, [name])
            break
        except ValueError as error:
            # The run, which continues, may have replaced it between its digest and itself.
            if digests != before:
                before = digests
                continue
            raise UserError(
                f"{directory}: {error}; put it back, or remove {NAME} there to use it as it is"
            ) from None
    return directory / name


def replace_file(directory: Path, name: str, text: str) -> None:
    """Replace a file of a run, and its digest; at no moment is a reader refused.

    Args:
      directory: of the run.
      name: of the file.
      text: its new content.

    Raises:
      OSError: if it cannot be written.
      UserError: if the digests are damaged.
    """
    digests, now = run_digests(directory), content_digest(text.encode())
    if digests is not None:
        write_digests(directory, {**digests, name: [*digests.get(name, ()), now]})
    replace_text(directory / name, text)
    if digests is not None:
        write_digests(directory, {**digests, name: [now]})


def keep_digests(directory: Path, names: Iterable[str]) -> None:
    """Write the digests of a run of an older version, which has none, for later readers.

    Args:
      directory: of a run whose files were found to be those that are asked for.
      names: of its files.

    Raises:
      UserError: if they cannot be written, or those that are there are damaged.
    """
    if run_digests(directory) is not None:
        return
    try:
        write_digests(directory, {name: [file_digest(directory / name)] for name in names})
    except OSError as error:
        raise UserError(f"run directory {directory}: {error.strerror or error}") from None
