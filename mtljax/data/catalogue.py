"""Finding a data set by name: embedded, prepared in a directory, or only in a catalogue."""

import importlib.util
import os
import re
from pathlib import Path

from mtljax.data.embedded import EMBEDDED, load_embedded
from mtljax.data.source import Source
from mtljax.errors import UserError
from mtljax.tasks.suggest import suggestion

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def load_source(dataset: str, data_dir: str | os.PathLike[str] | None = None) -> Source:
    """Loads a data set by its name.

    Args:
        dataset: name of an embedded set; else of a directory under `data_dir` in TFDS format
            (`name`, `name/version`, `name/config`, the newest version where none is named);
            else a path to such a directory.
        data_dir: where prepared data sets lie.

    Returns:
        The data set. Its splits are read when they are first used.

    Raises:
        UserError: if there is no such data set, or it cannot be read.
    """
    if data_dir is not None:
        _check_directory(data_dir)
    if dataset in EMBEDDED:
        return load_embedded(dataset)
    places = [Path(data_dir) / dataset] if data_dir is not None else []
    for place in [*places, Path(os.path.expanduser(dataset))]:
        found = _prepared(place)
        if found is not None:
            from mtljax.data.prepared import load_prepared

            return load_prepared(found, name=dataset)
    raise UserError(_unknown(dataset, data_dir))


def is_prepared(dataset: str, data_dir: str | os.PathLike[str] | None) -> bool:
    """Whether a data set lies in a directory of prepared ones, in TFDS format."""
    return data_dir is not None and _prepared(Path(data_dir) / dataset) is not None


def _check_directory(data_dir: str | os.PathLike[str]) -> None:
    try:
        reason = "" if Path(data_dir).is_dir() else "no such directory"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UserError(f"data directory {str(data_dir)!r}: {reason}")


def _prepared(place: Path) -> Path | None:
    # The directory itself, or the newest version below it.
    try:
        if (place / "features.json").is_file() or (place / "dataset_info.json").is_file():
            return place
        versions = [
            child for child in place.iterdir() if child.is_dir() and _VERSION.fullmatch(child.name)
        ]
    except (OSError, ValueError):
        return None
    if not versions:
        return None
    return max(versions, key=lambda path: tuple(map(int, path.name.split("."))))


def _unknown(dataset: str, data_dir: str | os.PathLike[str] | None) -> str:
    known = list(EMBEDDED)
    where = "no data directory was given"
    if data_dir is not None:
        where = f"not in the data directory {str(data_dir)!r}"
        try:
            children = sorted(Path(data_dir).iterdir())
        except OSError as error:
            return f"data directory {str(data_dir)!r}: {error.strerror or error}"
        known += [child.name for child in children if _prepared(child) is not None]
    if dataset.split("/")[0] in catalogue_names():
        return (
            f"data set {dataset!r} is in the TFDS catalogue but not prepared ({where}): "
            f"prepare it in array_record format first"
        )
    close = suggestion(dataset, known)
    listing = "" if close.startswith("; known") else f" (known: {', '.join(known)})"
    return f"unknown data set {dataset!r}: {where}{close}{listing}"


def catalogue_names() -> frozenset[str]:
    """Names of the TFDS catalogue, read off the installed package without importing it."""
    spec = importlib.util.find_spec("tensorflow_datasets")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    root = Path(next(iter(spec.submodule_search_locations)))
    names = set()
    for folder in ("datasets", "text", "translate", "summarization", "question_answering"):
        for child in (root / folder).iterdir() if (root / folder).is_dir() else ():
            if not child.name.startswith("_") and not child.stem.endswith(("_test", "_utils")):
                names.add(child.stem)
    # The one builder whose module has another name.
    return frozenset(names | {"imdb_reviews"})
