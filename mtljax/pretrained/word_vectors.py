"""Static vectors of words from a file: word2vec and GloVe text, NumPy archives, safetensors."""

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtljax.errors import UserError


class WordVectors(NamedTuple):
    """The vectors of those words of a vocabulary that a file has.

    Attributes:
      ids: int32 ``[n]``, their numbers in the vocabulary.
      values: float32 ``[n, width]``.
    """

    ids: np.ndarray
    values: np.ndarray


def read_word_vectors(path: Path, words: Mapping[str, int], *, lowercase: bool) -> WordVectors:
    """Read the vectors of some words.

    Args:
      path: a text with a word and its numbers a line, maybe after a line with their counts; an
        ``.npz`` with ``words`` and ``vectors``; or a ``.safetensors`` with ``vectors`` and, in its
        metadata, ``words`` as a JSON list.
      words: number by word.
      lowercase: whether a word that the file does not have is looked for in other cases.

    Raises:
      UserError: naming the file and the line, if it cannot be read or a line is cut.
    """
    read = {".npz": _npz, ".safetensors": _safetensors}.get(path.suffix, _text)
    exact: dict[int, np.ndarray] = {}
    other: dict[int, np.ndarray] = {}

    def wanted(word: str) -> dict[int, np.ndarray] | None:
        """Where the vector of a word goes; None for one that is not needed."""
        if words.get(word, -1) in exact:
            return None
        if word in words:
            return exact
        lower = words.get(word.lower(), -1) if lowercase else -1
        return other if lower >= 0 and lower not in other else None

    def keep(word: str, numbers: Callable[[], np.ndarray], line: int) -> None:
        place = wanted(word)
        if place is None:
            return
        try:
            values = numbers()
        except ValueError:
            raise UserError(f"{path}, line {line}: not numbers after {word[:40]!r}") from None
        if not np.isfinite(values).all():
            raise UserError(f"{path}, line {line}: a number that is not finite")
        place[words[word] if place is exact else words[word.lower()]] = values

    try:
        read(path, keep)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error.reason}") from error
    found = other | exact
    ids = np.asarray(sorted(found), np.int32)
    if not len(ids):
        raise UserError(f"{path}: has none of the words of the training texts")
    return WordVectors(ids, np.stack([found[i] for i in ids.tolist()]))


Keep = Callable[[str, Callable[[], np.ndarray], int], None]


def _text(path: Path, keep: Keep) -> None:
    width = 0
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            line = line.rstrip(" \r\n")
            if number == 1 and (counts := line.split()) and len(counts) == 2:
                if all(count.isdecimal() for count in counts):
                    width = int(counts[1])
                    continue
            width = width or line.count(" ")
            # A word may have spaces.
            word, *numbers = line.rsplit(" ", width)
            if len(numbers) != width or not width:
                raise UserError(
                    f"{path}, line {number}: {len(numbers)} numbers, the lines before have {width}"
                )
            keep(word, lambda numbers=numbers: np.asarray(numbers, np.float32), number)


def _arrays(path: Path, words: object, vectors: np.ndarray | None, keep: Keep) -> None:
    if vectors is None or words is None:
        raise UserError(f"{path}: needs 'words' and 'vectors'")
    names = np.asarray(words)
    if vectors.ndim != 2 or names.shape != vectors.shape[:1] or vectors.dtype.kind != "f":
        raise UserError(
            f"{path}: {names.size} words, and vectors {vectors.dtype} of shape {vectors.shape}"
        )
    for number, word in enumerate(names.tolist()):
        keep(str(word), lambda number=number: vectors[number].astype(np.float32), number + 1)


def _npz(path: Path, keep: Keep) -> None:
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with loaded as arrays:
            words, vectors = (arrays.get(name) for name in ("words", "vectors"))
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged: {error}") from error
    _arrays(path, words, vectors, keep)


def _safetensors(path: Path, keep: Keep) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            listed = json.loads((file.metadata() or {}).get("words", "null"))
            words = None if listed is None else np.asarray(listed)
            vectors = file.get_tensor("vectors") if "vectors" in file.keys() else None  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path}: damaged: {error}") from error
    _arrays(path, words, vectors, keep)
