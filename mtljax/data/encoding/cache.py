"""A cache of tokenised data on disk, whose keys are digests of all that determines an entry."""

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

from mtljax.data.encoding.examples import Examples, concatenated
from mtljax.digests import content_digest, written_digest

FORMAT = 5
"""Format of the entries; one of another format is made again."""

Say = Callable[[str], None]
"""Is called with one line that a user should see."""

_META = "meta.json"


@dataclasses.dataclass(frozen=True)
class Cache:
    """Where tokenised data is kept, if anywhere.

    An entry is written to a temporary directory and renamed when it is complete, so that a reader
    sees a complete one or none, and of two runs that make the same one the first wins. It is used
    only if it is what was written, by digests that it holds.

    Attributes:
        directory: made when it is first needed; None keeps everything in memory.
        say: is called with a line for each entry that cannot be read or written.
    """

    directory: Path | None = None
    say: Say = lambda text: None


def cache_key(*parts: Any) -> str:
    """The key of what these plain values determine: 32 hexadecimal digits.

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
    """A plain JSON value, from the cache if it has it.

    Args:
        cache: the cache.
        kind: kind of the value, the name of a directory of the cache.
        key: key from `cache_key`; None for a value that is not kept.
        make: computes the value.
    """
    if cache.directory is None or key is None:
        return make()
    path = cache.directory / kind / f"{key}.json"
    try:
        return _unsealed(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        pass
    except _OtherFormat:
        cache.say(f"cache: {path} was written by another version; made again")
    except (OSError, ValueError, KeyError, TypeError):
        cache.say(f"cache: {path} is damaged; made again")
    value = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(_sealed(value))
        os.replace(draft, path)
    except OSError as error:
        cache.say(f"cache: cannot write {path}: {error.strerror or error}")
    return value


def _sealed(value: Any) -> str:
    """JSON of a value with its digest."""
    digest = content_digest(json.dumps(value).encode())
    return json.dumps({"format": FORMAT, "digest": digest, "value": value})


def _unsealed(content: bytes) -> Any:
    sealed = json.loads(content)
    if sealed["format"] != FORMAT:
        raise _OtherFormat(f"format {sealed['format']}")
    if sealed["digest"] != content_digest(json.dumps(sealed["value"]).encode()):
        raise ValueError("not as it was written")
    return sealed["value"]


def cached_examples(
    cache: Cache, key: str | None, make: Callable[[], Iterable[Examples]]
) -> Examples:
    """Examples, mapped from the cache if it has them.

    Args:
        cache: the cache.
        key: key from `cache_key`; None for examples that are not kept.
        make: computes them block by block; each is written at once, so that memory holds one block
            at a time.

    Returns:
        The examples; their arrays are mapped from files and read when they are used.
    """
    if cache.directory is None or key is None:
        return concatenated(make())
    entry = cache.directory / "examples" / key
    examples = _read(cache, entry)
    if examples is not None:
        return examples
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{key}."))
    except OSError as error:
        cache.say(f"cache: cannot write {entry}: {error.strerror or error}")
        return concatenated(make())
    try:
        write_examples(draft, make())
        _rename(draft, entry)
    except OSError as error:
        cache.say(f"cache: cannot write {entry}: {error.strerror or error}; kept in memory")
        return concatenated(make())
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    # Read back, so that the arrays are mapped files and not in memory.
    examples = _read(cache, entry)
    return concatenated(make()) if examples is None else examples


def _read(cache: Cache, entry: Path) -> Examples | None:
    if not entry.exists():
        return None
    try:
        return open_examples(entry, check=True)
    except _OtherFormat:
        cache.say(f"cache: {entry} was written by another version; made again")
    except (OSError, ValueError, KeyError, TypeError) as error:
        cache.say(f"cache: {entry} is damaged ({error}); made again")
    return None


def _rename(draft: Path, entry: Path) -> None:
    try:
        os.rename(draft, entry)
    except OSError:
        # Another run was first, or the entry that exists cannot be used.
        try:
            open_examples(entry, check=True)
        except (OSError, ValueError, KeyError, TypeError):
            # Moved aside before it is removed: a reader never sees half of an entry.
            aside = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name}."))
            os.rename(entry, aside / "old")
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(draft, entry)


class _OtherFormat(ValueError):
    pass


def write_examples(directory: Path, blocks: Iterable[Examples]) -> None:
    """Writes examples, block by block: a file for each array, and at last `meta.json`."""
    described: dict[str, dict[str, Any]] = {}
    skipped: Counter[str] = Counter()
    malformed: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    files: dict[str, Any] = {}
    end = 0
    try:
        for number, block in enumerate(blocks):
            skipped.update(block.skipped)
            malformed.update(block.malformed)
            cut.update(block.cut)
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
    for array in described.values():
        array["digest"] = written_digest(directory / array["file"])
    counts = {"skipped": dict(skipped), "malformed": dict(malformed), "cut": dict(cut)}
    (directory / _META).write_text(_sealed({**counts, "arrays": described}), encoding="utf-8")


def _arrays(examples: Examples) -> dict[str, np.ndarray]:
    return {
        "tokens": examples.tokens,
        "affixes": examples.affixes,
        "rows": examples.rows,
        **({} if examples.words is None else {"words": examples.words}),
        **{f"targets/{task}": array for task, array in examples.targets.items()},
        **{f"weights/{task}": array for task, array in examples.weights.items()},
    }


def open_examples(directory: Path, check: bool = False) -> Examples:
    """Maps what `write_examples` wrote.

    Args:
        directory: of the entry.
        check: whether to read all of the arrays' files and compare their digests, as is done once
            a run; its workers open the same files again.

    Raises:
        OSError, ValueError, KeyError, TypeError: if it is not complete, or not as it was written.
    """
    meta = _unsealed((directory / _META).read_bytes())
    arrays = {name: _mapped(directory, array, check) for name, array in meta["arrays"].items()}

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
        cut=meta["cut"],
        words=arrays.get("words"),
        reopen=(open_examples, directory),
    )


def _mapped(directory: Path, array: dict[str, Any], check: bool) -> np.ndarray:
    path, shape, dtype = directory / array["file"], tuple(array["shape"]), np.dtype(array["dtype"])
    size = int(np.prod(shape)) * dtype.itemsize
    if path.stat().st_size != size:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {size}")
    # Mapped, as it will be read.
    if check and written_digest(path) != array["digest"]:
        raise ValueError(f"{path.name} is not as it was written")
    if not size:
        return np.zeros(shape, dtype)
    # A plain view: a memmap's own indexing costs more than the batches it makes.
    return np.memmap(path, dtype, "r", shape=shape).view(np.ndarray)
