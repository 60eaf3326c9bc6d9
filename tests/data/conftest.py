import os
from pathlib import Path

import pytest

from mtljax.data import Feature, Source

TRAIN = [
    {
        "text": "a good film",
        "words": ["a", "good", "film"],
        "label": 1,
        "tags": [0, 1, 0],
        "y": 2.0,
    },
    {"text": "a bad film", "words": ["a", "bad", "film"], "label": 0, "tags": [0, 2, 0], "y": -1.0},
    {"text": "good", "words": ["good"], "label": -1, "tags": [1], "y": float("nan")},
    {"text": "", "words": [], "label": None, "tags": None, "y": None},
]


@pytest.fixture
def tfds_dir():
    beside = Path(__file__).resolve().parents[2].parent / "shared/data/tfds"
    path = Path(os.environ.get("MTLJAX_DATA_DIR") or beside)
    if not (path / "snips").is_dir():
        pytest.skip("no TFDS data sets: set MTLJAX_DATA_DIR to a directory that has snips")
    return path


@pytest.fixture
def small_source():
    """A source with every kind of feature and every kind of missing target."""

    def make(train=TRAIN, validation=TRAIN[:2], name="small"):
        return Source(
            name=name,
            identity=name,
            features={
                "text": Feature("text"),
                "words": Feature("tokens"),
                "label": Feature("label", ("bad", "good")),
                "tags": Feature("tags", ("O", "B-x", "I-x")),
                "y": Feature("number"),
            },
            splits={"train": list(train), "validation": list(validation)},
        )

    return make
