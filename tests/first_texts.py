"""Small data sets of real texts.

To encode all of a set of the package, in every command that reads it, takes longer than to compile
a small model.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mtljax.data import load_source


def write_first(name: str, directory: Path, count: int = 100) -> None:
    """The first texts of each split of a data set of the package, as files of a user's.

    Of the other splits, those whose classes the training texts have.
    """
    source = load_source(name)
    classes = {n: feature.classes for n, feature in source.features.items() if feature.classes}

    def named(row: dict[str, Any]) -> dict[str, Any]:
        return {
            feature: [classes[feature][i] for i in np.ravel(value)] if feature in classes else value
            for feature, value in row.items()
        }

    directory.mkdir()
    seen: dict[str, set[str]] = {}
    for split in ("train", "validation", "test"):
        rows = [named(source.splits[split][number]) for number in range(count)]
        for feature in classes if split == "train" else ():
            seen[feature] = {label for row in rows for label in row[feature]}
        with (directory / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for row in rows:
                if all(set(row[feature]) <= seen[feature] for feature in classes):
                    flat = {f: row[f] if source.features[f].kind == "tags" else row[f][0]
                            for f in classes}  # fmt: skip
                    print(json.dumps(row | flat), file=file)


def splits(directory: str | Path) -> str:
    """The field of a tasks file that names the files of `write_first`."""
    names = (f"{split}: {directory}/{split}.jsonl" for split in ("train", "validation", "test"))
    return f"splits: {{{', '.join(names)}}}"
