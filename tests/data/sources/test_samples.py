"""Few rows of a data set."""

from mtljax.data.sources.lazy_rows import Rows
from mtljax.data.sources.samples import sampled
from mtljax.data.sources.source import Source


def _source(fingerprint="a", sizes=(100, 30, 20)):
    splits = {}
    for name, size in zip(("train", "validation", "test"), sizes, strict=True):
        rows = [{"text": f"{name} {number}"} for number in range(size)]
        splits[name] = Rows(rows.__len__, lambda start, stop, rows=rows: rows[start:stop])
    return Source("s", "s", {}, splits, lambda: fingerprint)


def test_rows_are_drawn_without_repetition_and_fewer_are_among_more():
    source = _source()
    few, more = sampled(source, 10, 3), sampled(source, 40, 3)
    texts = [[row["text"] for row in one.splits["train"]] for one in (few, more, source)]
    assert [len(set(part)) for part in texts] == [10, 40, 100]
    assert set(texts[0]) < set(texts[1]) < set(texts[2])
    assert texts[1] != texts[2][:40]
    assert texts[1] == sorted(texts[1], key=texts[2].index)
    # As many of validation, where there are as many; test stays.
    assert [len(one.splits["validation"]) for one in (few, more)] == [10, 30]
    assert few.splits["test"] is source.splits["test"]
    assert few.splits["train"][2:4] == list(few.splits["train"])[2:4]


def test_a_draw_is_of_its_seed_and_its_fingerprint_says_so():
    one, other = (sampled(_source(), 10, seed) for seed in (0, 1))
    assert list(one.splits["train"]) == list(sampled(_source(), 10, 0).splits["train"])
    assert list(one.splits["train"]) != list(other.splits["train"])
    variants = [
        one,
        other,
        sampled(_source(), 11, 0),
        sampled(_source("b"), 10, 0),
        _source(),
    ]
    found = [variant.fingerprint() for variant in variants if variant.fingerprint]
    assert len(set(found)) == 5
