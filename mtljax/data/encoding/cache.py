"""A cache of tokenised data on disk, keyed by content."""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mtljax.data.encoding.examples import Examples, joined

FORMAT = 1
"""Of what lies in the cache; an entry of another format is made anew."""

Say = Callable[[str], None]
"""Told in one line what a user should know."""

_META = "meta.json"


@dataclasses.dataclass(frozen=True)
class Cache:
    """Where tokenised data is kept, if anywhere.

    Entries are made in a directory of their own and put in place by one rename, so that a reader
    sees a whole one or none, and of two runs that make the same one the first wins.

    Attributes:
        directory: made when it is first needed; None keeps everything in memory.
        say: told of entries that could not be read or written.
    """

    directory: Path | None = None
    say: Say = lambda text: None


def cache_key(*parts: Any) -> str:
    """A name for what these plain values determine: 32 hexadecimal digits.

    >>> cache_key("a", {"x": 1, "y": [2]}) == cache_key("a", {"y": [2], "x": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return vars(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"no key from a {type(value).__name__}")


def cached_json(cache: Cache, kind: str, key: str | None, make: Callable[[], Any]) -> Any:
    """A plain JSON value, from the cache where it is there.

    Args:
        cache: where.
        kind: of value, a directory of the cache.
        key: from `cache_key`; None for a value that is not to be kept.
        make: returns the value.
    """
    if cache.directory is None or key is None:
        return make()
    path = cache.directory / kind / f"{key}.json"
    try:
        content = json.loads(path.read_bytes())
        if content["format"] == FORMAT:
            return content["value"]
        cache.say(f"cache: {path} was written by another version; made anew")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError, KeyError, TypeError):
        cache.say(f"cache: {path} is damaged; made anew")
    value = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, "value": value}, file)
        os.replace(draft, path)
    except OSError as error:
        cache.say(f"cache: cannot write {path}: {error.strerror or error}")
    return value


def cached_examples(
    cache: Cache, key: str | None, make: Callable[[], Iterable[Examples]]
) -> Examples:
    """Examples, mapped from the cache where they are there.

    Args:
        cache: where.
        key: from `cache_key`; None for examples that are not to be kept.
        make: returns them block by block, which are written as they come, so that memory holds
            one block at a time.

    Returns:
        The examples; their arrays are mapped from files, read when they are used.
    """
    if cache.directory is None or key is None:
        return joined(make())
    place = cache.directory / "examples" / key
    found = _read(cache, place)
    if found is not None:
        return found
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{key}."))
    except OSError as error:
        cache.say(f"cache: cannot write {place}: {error.strerror or error}")
        return joined(make())
    try:
        write_examples(draft, make())
        _put(draft, place)
    except OSError as error:
        cache.say(f"cache: cannot write {place}: {error.strerror or error}; kept in memory")
        return joined(make())
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    found = _read(cache, place)
    return joined(make()) if found is None else found


def _read(cache: Cache, place: Path) -> Examples | None:
    if not place.exists():
        return None
    try:
        return open_examples(place)
    except _OtherFormat:
        cache.say(f"cache: {place} was written by another version; made anew")
    except (OSError, ValueError, KeyError, TypeError) as error:
        cache.say(f"cache: {place} is damaged ({error}); made anew")
    return None


def _put(draft: Path, place: Path) -> None:
    try:
        os.rename(draft, place)
    except OSError:
        # Another run was first, or what is there cannot be used.
        try:
            open_examples(place)
        except (OSError, ValueError, KeyError, TypeError):
            aside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
            os.rename(place, aside / "old")
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(draft, place)


class _OtherFormat(ValueError):
    pass


def write_examples(directory: Path, blocks: Iterable[Examples]) -> None:
    """Writes examples, block by block, as one file an array and `meta.json`, last."""
    described: dict[str, dict[str, Any]] = {}
    skipped: Counter[str] = Counter()
    malformed: Counter[str] = Counter()
    files: dict[str, Any] = {}
    end = 0
    try:
        for number, block in enumerate(blocks):
            skipped.update(block.skipped)
            malformed.update(block.malformed)
            starts = block.starts + end if number == 0 else block.starts[1:] + end
            end += int(block.starts[-1])
            for name, array in {**_arrays(block), "starts": starts}.items():
                if name not in files:
                    described[name] = {"dtype": array.dtype.str, "shape": [0, *array.shape[1:]]}
                    described[name]["file"] = f"{len(files)}.bin"
                    files[name] = (directory / described[name]["file"]).open("wb")
                files[name].write(np.ascontiguousarray(array).data)
                described[name]["shape"][0] += len(array)
    finally:
        for file in files.values():
            file.close()
    counts = {"skipped": dict(skipped), "malformed": dict(malformed)}
    meta = {"format": FORMAT, **counts, "arrays": described}
    (directory / _META).write_text(json.dumps(meta), encoding="utf-8")


def _arrays(examples: Examples) -> dict[str, np.ndarray]:
    return {
        "tokens": examples.tokens,
        "affixes": examples.affixes,
        "rows": examples.rows,
        **{f"targets/{task}": array for task, array in examples.targets.items()},
        **{f"weights/{task}": array for task, array in examples.weights.items()},
    }


def open_examples(directory: Path) -> Examples:
    """Maps what `write_examples` wrote.

    Raises:
        OSError, ValueError, KeyError, TypeError: if it is not whole.
    """
    meta = json.loads((directory / _META).read_bytes())
    if meta["format"] != FORMAT:
        raise _OtherFormat(f"format {meta['format']}")
    arrays = {name: _mapped(directory, about) for name, about in meta["arrays"].items()}

    def by_task(kind: str) -> dict[str, np.ndarray]:
        prefix = f"{kind}/"
        return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

    return Examples(
        tokens=arrays["tokens"],
        affixes=arrays["affixes"],
        starts=arrays["starts"],
        rows=arrays["rows"],
        targets=by_task("targets"),
        weights=by_task("weights"),
        skipped=meta["skipped"],
        malformed=meta["malformed"],
        reopen=(open_examples, directory),
    )


def _mapped(directory: Path, about: dict[str, Any]) -> np.ndarray:
    path, shape, dtype = directory / about["file"], tuple(about["shape"]), np.dtype(about["dtype"])
    wanted = int(np.prod(shape)) * dtype.itemsize
    if path.stat().st_size != wanted:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {wanted}")
    if not wanted:
        return np.zeros(shape, dtype)
    # A plain view: a memmap's own indexing costs more than the batches it makes.
    return np.memmap(path, dtype, "r", shape=shape).view(np.ndarray)
