"""Data sets that TFDS has prepared on disk in array_record format, read without TensorFlow."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtljax.data.source import Feature, Source
from mtljax.errors import UserError

_ALIASES = {"valid": "validation", "val": "validation", "dev": "validation"}
_HELD_OUT = 10  # every tenth row of train, where a set has no validation split


def load_prepared(directory: Path, name: str) -> Source:
    """Opens a directory in TFDS format.

    Text arrives as str (invalid UTF-8 becomes U+FFFD), class labels as int with their names.
    Where the set has no validation split, every tenth row of train is held out as one.

    Args:
        directory: has `dataset_info.json`, `features.json` and array_record files.
        name: what to call the data set.

    Returns:
        The data set; a split is read into memory when it is first used.

    Raises:
        UserError: if the directory is not such a data set, or lacks a train split.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder_from_directory(str(directory))
            described: Any = builder.info.features
            specs = dict(described.items())
            sizes = {str(split): info.num_examples for split, info in builder.info.splits.items()}
        except Exception as error:
            raise UserError(
                f"data set {name!r}: {directory} is not in TFDS format: {_short(error)}"
            ) from error
    features, converters = {}, {}
    for feature_name, spec in specs.items():
        known = _feature(spec, tfds)
        if known is not None:
            features[feature_name], converters[feature_name] = known
    splits: dict[str, Sequence[Mapping[str, Any]]] = {
        _ALIASES.get(split, split): _Split(builder, name, split, size, converters)
        for split, size in sizes.items()
        if size
    }
    if "train" not in splits:
        raise UserError(
            f"data set {name!r} has no train split (splits: {', '.join(sizes) or 'none'})"
        )
    if "validation" not in splits:
        rows = splits["train"]
        held_out = range(_HELD_OUT - 1, len(rows), _HELD_OUT)
        splits["validation"] = _Selection(rows, held_out)
        splits["train"] = _Selection(rows, sorted(set(range(len(rows))) - set(held_out)))
    return Source(name=name, identity=str(directory.resolve()), features=features, splits=splits)


def _feature(spec: Any, tfds: Any) -> tuple[Feature, Callable[[Any], Any]] | None:
    features = tfds.features
    if isinstance(spec, features.ClassLabel):
        return Feature("label", tuple(spec.names or ())), int
    if isinstance(spec, features.Text):
        return Feature("text"), _text
    if isinstance(spec, features.Sequence):
        inner = _feature(spec.feature, tfds)
        plural: dict[str, Any] = {"label": "tags", "text": "tokens", "number": "numbers"}
        if inner is None or inner[0].kind not in plural:
            return None
        convert = inner[1]
        return (
            Feature(plural[inner[0].kind], inner[0].classes),
            lambda values: [convert(value) for value in values],
        )
    if spec.shape == () and isinstance(spec, features.Scalar | features.Tensor):
        dtype = np.dtype(spec.np_dtype)
        if dtype.kind in "iufb":
            return Feature("number"), _number
        if dtype.kind in "OSU":
            return Feature("text"), _text
    return None


def _number(value: Any) -> int | float:
    return value.item() if hasattr(value, "item") else value


def _text(value: Any) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


class _Split(Sequence[Mapping[str, Any]]):
    """The rows of one split, read from disk when the first of them is asked for."""

    def __init__(
        self,
        builder: Any,
        dataset: str,
        split: str,
        size: int,
        converters: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        self._builder = builder
        self._dataset = dataset
        self._split = split
        self._size = size
        self._converters = converters
        self._rows: list[Mapping[str, Any]] | None = None

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: Any) -> Any:
        return self._load()[index]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._load())

    def _load(self) -> list[Mapping[str, Any]]:
        if self._rows is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    self._rows = list(self._read())
                # array_record raises whatever its C++ side throws.
                except Exception as error:
                    raise UserError(
                        f"data set {self._dataset!r}, split {self._split!r}: "
                        f"cannot be read: {_short(error)}"
                    ) from error
        return self._rows

    def _read(self) -> Iterator[Mapping[str, Any]]:
        source = self._builder.as_data_source(self._split)
        if len(source) != self._size:
            raise ValueError(f"{len(source)} rows, but dataset_info.json says {self._size}")
        block = 4096
        for start in range(0, self._size, block):
            for row in source.__getitems__(list(range(start, min(start + block, self._size)))):
                yield {name: convert(row[name]) for name, convert in self._converters.items()}


class _Selection(Sequence[Mapping[str, Any]]):
    """Some rows of a split."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], selected: Sequence[int]) -> None:
        self._rows = rows
        self._selected = selected

    def __len__(self) -> int:
        return len(self._selected)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._rows[i] for i in self._selected[index]]
        return self._rows[self._selected[index]]
