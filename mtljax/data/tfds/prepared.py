"""Data sets in TFDS format on disk (array_record files), read without TensorFlow."""

import functools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtljax.data.sources.fingerprint import fingerprint_of
from mtljax.data.sources.hold_out import hold_out
from mtljax.data.sources.lazy_rows import IN_MEMORY, Row, Rows
from mtljax.data.sources.source import Feature, Source
from mtljax.data.sources.splits import select_splits, with_validation
from mtljax.errors import UserError
from mtljax.tasks import Dataset

_ALIASES = {"valid": "validation", "val": "validation", "dev": "validation"}
_BLOCK = 4096  # rows that are fetched at a time


def load_prepared(directory: Path, name: str, dataset: Dataset | None = None) -> Source:
    """Opens a directory in TFDS format.

    Text arrives as str (invalid UTF-8 becomes U+FFFD), class labels as int with their names.
    Features inside others have a dotted name, such as `answers.text`. Where the set has no
    validation split, every tenth row of train is held out as one: TFDS shuffles the rows by a hash
    of their keys when it writes them, so that their order says nothing. Of a set that says that it
    was not shuffled, a tenth is held out by what the rows hold (`mtljax.data.sources.hold_out`).

    Args:
        directory: directory with `dataset_info.json`, `features.json` and array_record files.
        name: name of the data set.
        dataset: a description of the set, perhaps with other splits made of its own.

    Returns:
        The data set; a split is read when it is first used, and kept in memory if it is not large.

    Raises:
        UserError: if the directory is not such a data set, or lacks a train split.
    """
    # The description of the set, in two files, of which no row is read.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder_from_directory(str(directory))
            nested: Any = builder.info.features
            specs = dict(_flat(nested, tfds))
            in_order = bool(builder.info.disable_shuffling)
            sizes = {str(split): info.num_examples for split, info in builder.info.splits.items()}
        except Exception as error:
            raise UserError(
                f"data set {name!r}: {directory} is not in TFDS format: {_short(error)}"
            ) from error

    # Features that tasks can read, with a conversion of their values; others are left out.
    features, converters = {}, {}
    for feature_name, spec in specs.items():
        usable = _feature(spec, tfds)
        if usable is not None:
            features[feature_name] = usable[0]
            converters[feature_name] = functools.partial(_at, feature_name.split("."), usable[1])

    # Splits, under one name for each; those of a description are slices of the set's own.
    splits: dict[str, Sequence[Row]] = {
        _ALIASES.get(split, split): _split_rows(builder, name, split, size, converters)
        for split, size in sizes.items()
        if size
    }
    slices: list[Any] = [] if dataset is None else list(dataset.splits)
    described = slices
    if dataset is not None and dataset.splits:
        splits = select_splits(dataset, splits, _ALIASES)
    elif "train" not in splits:
        raise UserError(
            f"data set {name!r} has no train split (splits: {', '.join(sizes) or 'none'})"
        )
    elif in_order and "validation" not in splits:
        texts = [name for name, known in features.items() if known.kind in ("text", "tokens")]
        classes = [name for name, known in features.items() if known.classes]
        splits = hold_out(splits, texts, classes)
        described = [{"held out": [texts, classes]}]  # runs of another split are not continued
    else:
        splits = with_validation(splits)
    identity = str(directory.resolve())
    return Source(
        name=name,
        identity=identity + json.dumps(slices) if slices else identity,
        features=features,
        splits=splits,
        fingerprint=functools.cache(
            lambda: fingerprint_of(
                sorted(path for path in directory.iterdir() if path.is_file()), described
            )
        ),
    )


def _flat(specs: Any, tfds: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    # Features by dotted name; a sequence of several features is several sequences.
    for name, spec in specs.items():
        if isinstance(spec, tfds.features.FeaturesDict):
            yield from _flat(spec, tfds, f"{prefix}{name}.")
        elif isinstance(spec, tfds.features.Sequence) and isinstance(
            spec.feature, tfds.features.FeaturesDict
        ):
            for inner, feature in _flat(spec.feature, tfds, f"{prefix}{name}."):
                yield inner, tfds.features.Sequence(feature)
        else:
            yield f"{prefix}{name}", spec


def _at(path: Sequence[str], convert: Callable[[Any], Any], row: Any) -> Any:
    for i, name in enumerate(path):
        # A feature may have a dot in its own name.
        if ".".join(path[i:]) in row:
            return convert(row[".".join(path[i:])])
        row = row[name]
    return convert(row)


def _feature(spec: Any, tfds: Any) -> tuple[Feature, Callable[[Any], Any]] | None:
    # The feature of a TFDS spec and the conversion of its values; None for images and the like.
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


def _split_rows(
    builder: Any,
    dataset: str,
    split: str,
    size: int,
    converters: Mapping[str, Callable[[Any], Any]],
) -> Rows:
    where = f"data set {dataset!r}, split {split!r}"

    @functools.cache
    def opened() -> Any:
        source = builder.as_data_source(split)
        # A file that is cut short at the end of a record reads without an error.
        if len(source) != size:
            raise ValueError(f"{len(source)} rows, but dataset_info.json says {size}")
        return source

    def fetch(start: int, stop: int) -> list[Row]:
        rows: list[Row] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for begin in range(start, stop, _BLOCK):
                    numbers = list(range(begin, min(begin + _BLOCK, stop)))
                    rows += [
                        {name: convert(row) for name, convert in converters.items()}
                        for row in opened().__getitems__(numbers)
                    ]
            # array_record raises whatever its C++ side throws.
            except Exception as error:
                raise UserError(f"{where}: cannot be read: {_short(error)}") from error
        return rows

    all_rows = functools.cache(lambda: fetch(0, size))

    def read(start: int, stop: int) -> list[Row]:
        return all_rows()[start:stop] if size <= IN_MEMORY else fetch(start, stop)

    return Rows(lambda: size, read)
