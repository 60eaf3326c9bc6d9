import json
from typing import Any

import pytest

from mtljax.data import load_source
from mtljax.tasks import Dataset

ROWS = [
    {"text": f"text {i}", "stars": i / 2, "meta": {"label": "yes" if i % 3 else "no"}}
    for i in range(25)
]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def reviews(tmp_path):
    return jsonl(tmp_path / "reviews.jsonl", ROWS)


def test_fingerprints_follow_the_content(reviews, tmp_path):
    def digest(source: Any = None, **fields):
        found = load_source(source or Dataset("mine", path="reviews.jsonl", **fields), tmp_path)
        assert found.fingerprint is not None
        assert len(bytes.fromhex(found.fingerprint())) == 32
        return found.fingerprint()

    base = digest()
    assert digest(Dataset("other", path=str(reviews))) == base
    seen = {
        base,
        digest(splits={"train": "[:9]"}),
        digest(splits={"train": "[:8]"}),
        digest(features={"label": {"column": "meta.label", "classes": ["no", "yes"]}}),
        digest(features={"label": {"column": "meta.label", "classes": ["yes", "no"]}}),
        digest("movie_sentiment"),
        digest("movie_casepunct"),
        digest(Dataset("part", dataset="movie_lm", splits={"train": "test"})),  # pyright: ignore
        load_source(Dataset("m", path="reviews.jsonl"), tmp_path, bad_rows="skip").fingerprint(),  # pyright: ignore
        load_source(Dataset("m", path="reviews.jsonl"), tmp_path, wanted={"text"}).fingerprint(),  # pyright: ignore
    }
    assert len(seen) == 10
    reviews.rename(tmp_path / "moved.jsonl")
    assert digest(Dataset("mine", path="moved.jsonl")) == base
    jsonl(reviews, [*ROWS[:-1], {**ROWS[-1], "text": "text 42"}])
    assert digest() not in seen
