"""Loading of a data set by its name or description."""

import dataclasses
import json
import os
import re
import shlex
import warnings
from collections.abc import Collection
from pathlib import Path

from mtljax.copies import copied
from mtljax.data.catalogue.embedded import EMBEDDED, load_embedded
from mtljax.data.files.load_files import load_files
from mtljax.data.sources.bad_rows import BadRows
from mtljax.data.sources.source import Source
from mtljax.errors import UserError
from mtljax.local_paths import scheme
from mtljax.tasks import Dataset, suggestion

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def load_source(
    dataset: str | Dataset,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    bad_rows: BadRows = "stop",
    wanted: Collection[str] | None = None,
    required: Collection[str] = (),
    classes: Collection[str] = (),
) -> Source:
    """Loads a data set by its name or description.

    Args:
        dataset: name of an embedded set; else of a directory under `data_dir` in TFDS format
            (`name`, `name/version`, `name/config`, the newest version where none is named);
            else a path to such a directory. Or a description of files or of such a set.
        data_dir: where data sets in TFDS format lie.
        bad_rows: what a malformed row of a file does: `stop` with an error that names file and
            line, or `skip`, left out and counted.
        wanted: names of the features of a file that are checked and read; None for all.
        required: names of the features without which a row is malformed.
        classes: names of the features of a file with classes, of each of which a tenth is held out
            where a description names no splits.

    Returns:
        The data set. Its splits are read when they are first used.

    Raises:
        UserError: if there is no such data set, or it cannot be read.
    """
    remote = None
    if data_dir is not None and scheme(data_dir):
        # What is wanted of it is copied. Two slashes in a row are another place in a store.
        remote, data_dir = os.fspath(data_dir).rstrip("/"), None
    elif data_dir is not None:
        _check_directory(data_dir)
    description = dataset if isinstance(dataset, Dataset) else None
    name = dataset if isinstance(dataset, str) else dataset.dataset
    if description is not None and description.name in EMBEDDED:
        raise UserError(
            f"source {description.name!r}: a set inside the package has this name; choose another"
        )
    if description is not None and name is None:
        description = _copied_files(description, remote)
        return load_files(description, data_dir, bad_rows, wanted, required, classes)
    assert name is not None
    if name in EMBEDDED:
        return load_embedded(name, description)
    # A set that the catalogue calls name:version is in the directory name/version.
    paths = [Path(os.path.expanduser(name))]
    if scheme(name):
        paths = [copied("data set", name)]
    elif remote is not None and _prepared_directory(paths[0]) is None:
        paths.insert(0, copied("data set", f"{remote}/{name.replace(':', '/')}"))
    elif data_dir is not None:
        paths.insert(0, Path(data_dir) / name.replace(":", "/"))
    for path in paths:
        directory = _prepared_directory(path)
        if directory is not None:
            # Imported here: TFDS is slow to import, and needed for such sets alone.
            from mtljax.data.tfds.prepared import load_prepared

            return load_prepared(directory, description.name if description else name, description)
    where = f"source {description.name!r}: " if description else ""
    raise UserError(where + _unknown(name, data_dir))


def _copied_files(description: Dataset, remote: str | None) -> Dataset:
    """A description of files on this machine, where its path, or the data directory, is not."""
    path = description.path
    if path is not None and remote is not None and not scheme(path) and not Path(path).exists():
        path = f"{remote}/{path}"
    if path is None or not scheme(path):
        return description
    return dataclasses.replace(
        description, path=str(copied(f"source {description.name!r}: path", path))
    )


def is_prepared(dataset: str, data_dir: str | os.PathLike[str] | None) -> bool:
    """Whether a data set in TFDS format lies under `data_dir`."""
    if data_dir is None or scheme(data_dir):  # nothing is copied to find out
        return False
    return _prepared_directory(Path(data_dir) / dataset) is not None


def _check_directory(data_dir: str | os.PathLike[str]) -> None:
    try:
        reason = "" if Path(data_dir).is_dir() else "no such directory"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UserError(f"data directory {str(data_dir)!r}: {reason}")


def _prepared_directory(path: Path) -> Path | None:
    # The directory itself, or the newest version below it.
    try:
        if (path / "features.json").is_file() or (path / "dataset_info.json").is_file():
            return path
        versions = [
            child for child in path.iterdir() if child.is_dir() and _VERSION.fullmatch(child.name)
        ]
    except (OSError, ValueError):
        return None
    if not versions:
        config = _default_config(path)
        return None if config is None else _prepared_directory(path / config)
    return max(versions, key=lambda path: tuple(map(int, path.name.split("."))))


def _default_config(path: Path) -> str | None:
    # TFDS notes which configuration of a set a name without one means.
    try:
        content = json.loads((path / ".config" / "metadata.json").read_text(encoding="utf-8"))
        return str(content["default_config_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unknown(dataset: str, data_dir: str | os.PathLike[str] | None) -> str:
    known = list(EMBEDDED)
    where = "no data directory was given"
    if data_dir is not None:
        where = f"not in the data directory {str(data_dir)!r}"
        try:
            children = sorted(Path(data_dir).iterdir())
        except OSError as error:
            return f"data directory {str(data_dir)!r}: {error.strerror or error}"
        known += [child.name for child in children if _prepared_directory(child) is not None]
    if dataset.split("/")[0].split(":")[0] in _catalogue_names():
        directory = "DIR" if data_dir is None else shlex.quote(str(data_dir))
        return (
            f"data set {dataset!r} is in the TFDS catalogue but not prepared ({where}): "
            f"mtljax prepare {shlex.quote(dataset)} --data-dir {directory}"
        )
    if _is_file(dataset):
        return (
            f"unknown data set {dataset!r}, which is a file: name it in a tasks file's sources, "
            f"sources: {{NAME: {{path: {dataset}}}}}"
        )
    close = suggestion(dataset, known)
    listing = "" if close.startswith("; known") else f" (known: {', '.join(known)})"
    return f"unknown data set {dataset!r}: {where}{close}{listing}"


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # what no file can be called
        return False


def _catalogue_names() -> frozenset[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mtljax.data.tfds.builders import catalogue_names

        return catalogue_names()
