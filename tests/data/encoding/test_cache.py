import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.encoding import cache as caching
from mtljax.data.encoding.cache import Cache, cache_key, cached_examples, cached_json, open_examples
from mtljax.data.encoding.examples import Examples, concatenated


def block(lengths, offset=0, skipped=None):
    n = int(np.sum(lengths))
    values = np.arange(offset, offset + n, dtype=np.int32)
    return Examples(
        tokens=values,
        affixes=np.stack([values, -values], 1),
        starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        rows=np.arange(len(lengths), dtype=np.int32) + offset,
        targets={"c": np.arange(len(lengths), dtype=np.int32), "t": values + 1},
        weights={"c": np.ones(len(lengths), np.float32), "t": values.astype(np.float32)},
        skipped=skipped or {},
        cut={"texts": len(lengths), "cut_texts": 1, "words": n, "cut_words": offset},
    )


BLOCKS = [block([3, 1, 2], skipped={"c": 1}), block([4], 6, {"c": 2, "t": 1}), block([1, 1], 10)]


def same(one, two):
    for name in ("tokens", "affixes", "starts", "rows", "targets", "weights", "skipped", "cut"):
        np.testing.assert_equal(getattr(one, name), getattr(two, name))
    for name in ("tokens", "affixes", "starts", "rows"):
        assert getattr(one, name).dtype == getattr(two, name).dtype


def never():
    raise AssertionError("was to come from the cache")


@pytest.fixture
def said():
    return []


@pytest.fixture
def cache(tmp_path, said):
    return Cache(tmp_path / "cache", said.append)


def test_examples_come_back(cache, said):
    written = cached_examples(cache, "k", lambda: iter(BLOCKS))
    same(written, concatenated(BLOCKS))
    same(cached_examples(cache, "k", never), concatenated(BLOCKS))
    assert said == [] and [p.name for p in (cache.directory / "examples").iterdir()] == ["k"]


def test_nothing_is_kept_without_a_directory_or_a_key(tmp_path):
    same(cached_examples(Cache(), "k", lambda: iter(BLOCKS)), concatenated(BLOCKS))
    same(cached_examples(Cache(tmp_path), None, lambda: iter(BLOCKS)), concatenated(BLOCKS))
    assert cached_json(Cache(tmp_path), "x", None, lambda: 3) == 3
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=4))
def test_blocks_join_as_their_concatenation(lengths):
    blocks = [block(part) for part in lengths]
    whole = block([n for part in lengths for n in part])
    found = concatenated(blocks)
    np.testing.assert_array_equal(found.starts, whole.starts)
    for name in ("tokens", "targets", "weights"):
        mine, theirs = getattr(found, name), [getattr(part, name) for part in blocks]
        if name == "tokens":
            np.testing.assert_array_equal(mine, np.concatenate(theirs))
        else:
            for task in ("c", "t"):
                np.testing.assert_array_equal(
                    mine[task], np.concatenate([part[task] for part in theirs])
                )


def flip(path):
    """The last bit of the byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["cut", "gone", "no meta", "garbage", "bit", "bit of meta"])
def test_a_damaged_entry_is_made_again(cache, said, damage):
    cached_examples(cache, "k", lambda: iter(BLOCKS))
    place = cache.directory / "examples" / "k"
    match damage:
        case "cut":
            (place / "0.bin").write_bytes((place / "0.bin").read_bytes()[:-1])
        case "gone":
            (place / "1.bin").unlink()
        case "no meta":
            (place / "meta.json").unlink()
        case "garbage":
            (place / "meta.json").write_text("{")
        case "bit":
            flip(place / "0.bin")
        case "bit of meta":  # a count of cut texts that is another number
            text = (place / "meta.json").read_text()
            (place / "meta.json").write_text(text.replace('"cut_texts": 3', '"cut_texts": 1'))
    same(cached_examples(cache, "k", lambda: iter(BLOCKS)), concatenated(BLOCKS))
    assert len(said) == 1 and "is damaged" in said[0] and str(place) in said[0]
    same(cached_examples(cache, "k", never), concatenated(BLOCKS))


def test_another_version_is_made_again(cache, said, monkeypatch):
    cached_examples(cache, "k", lambda: iter(BLOCKS))
    cached_json(cache, "outputs", "k", lambda: [1])
    monkeypatch.setattr(caching, "FORMAT", caching.FORMAT + 1)
    same(cached_examples(cache, "k", lambda: iter(BLOCKS)), concatenated(BLOCKS))
    assert cached_json(cache, "outputs", "k", lambda: [2]) == [2]
    assert len(said) == 2 and all("written by another version" in line for line in said)
    same(cached_examples(cache, "k", never), concatenated(BLOCKS))
    assert cached_json(cache, "outputs", "k", never) == [2]


def test_an_error_leaves_nothing_behind(cache):
    def failing():
        yield BLOCKS[0]
        raise ValueError("row 7")

    with pytest.raises(ValueError, match="row 7"):
        cached_examples(cache, "k", failing)
    assert list((cache.directory / "examples").iterdir()) == []


def test_a_place_that_cannot_be_written_is_no_reason_to_stop(tmp_path, said):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file", said.append)
    same(cached_examples(cache, "k", lambda: iter(BLOCKS)), concatenated(BLOCKS))
    assert cached_json(cache, "outputs", "k", lambda: 5) == 5
    assert all("cannot write" in line for line in said) and len(said) == 2


def test_of_two_runs_the_first_wins(cache):
    def slow():
        same(cached_examples(cache, "k", lambda: iter(BLOCKS)), concatenated(BLOCKS))
        return iter(BLOCKS)

    same(cached_examples(cache, "k", slow), concatenated(BLOCKS))
    assert [p.name for p in (cache.directory / "examples").iterdir()] == ["k"]


def test_two_processes_at_once(tmp_path):
    code = f"""
import sys
sys.path.insert(0, "tests/data/encoding")
from pathlib import Path
from test_cache import BLOCKS, concatenated, same
from mtljax.data.encoding.cache import Cache, cached_examples
for i in range(40):
    cache = Cache(Path({str(tmp_path)!r}))
    same(cached_examples(cache, str(i), lambda: iter(BLOCKS)), concatenated(BLOCKS))
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    left = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert left == sorted(map(str, range(40)))


def test_a_worker_opens_the_files_itself(cache):
    found = cached_examples(cache, "k", lambda: iter(BLOCKS))
    sent = pickle.dumps(found)
    assert len(sent) < 500
    same(pickle.loads(sent), concatenated(BLOCKS))
    same(pickle.loads(pickle.dumps(BLOCKS[0])), BLOCKS[0])
    with pytest.raises(FileNotFoundError):
        open_examples(cache.directory / "nowhere")


def test_json_values(cache):
    path = cache.directory / "outputs" / "k.json"
    assert cached_json(cache, "outputs", "k", lambda: {"a": [1, None]}) == {"a": [1, None]}
    assert cached_json(cache, "outputs", "k", never) == {"a": [1, None]}
    path.write_text(path.read_text()[:-2])
    assert cached_json(cache, "outputs", "k", lambda: 1) == 1
    assert json.loads(path.read_text())["value"] == 1
    path.write_text(path.read_text().replace('"value": 1', '"value": 3'))
    assert cached_json(cache, "outputs", "k", lambda: 1) == 1
    assert cached_json(cache, "outputs", "k", never) == 1


def test_keys_tell_values_apart():
    values = [1, "1", None, True, [1], {"a": 1}, {"a": None}, np.arange(2), [0, 1, 2]]
    assert len({cache_key(value) for value in values}) == len(values)
