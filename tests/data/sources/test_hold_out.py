import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.sources import hold_out as module
from mtljax.data.sources.hold_out import held_out_rows, hold_out
from mtljax.kinds.labels import Indicators
from tests.data.sources.lazy import lazy


def held_out(rows, content=("text",), classes=()):
    flags = held_out_rows(rows, content, classes).tolist()
    assert len(flags) == len(rows)
    return [row for row, flag in zip(rows, flags, strict=True) if flag]


def labelled(labels):
    return [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]


@given(st.integers(0, 300))
def test_a_tenth_is_held_out(size):
    assert len(held_out([{"text": str(i)} for i in range(size)])) == size // 10


@given(st.lists(st.sampled_from("abcde"), max_size=200), st.randoms(use_true_random=False))
def test_of_each_class_a_tenth_whatever_the_order(labels, rng):
    rows = labelled(labels)
    chosen = held_out(rows, classes=["label"])
    assert len(chosen) <= len(rows) // 10
    counts = Counter(row["label"] for row in chosen)
    for label, count in Counter(labels).items():
        assert count // 10 <= counts[label] <= -(-count // 10) and counts[label] < count
    shuffled = rng.sample(rows, len(rows))
    assert sorted(row["text"] for row in held_out(shuffled, classes=["label"])) == sorted(
        row["text"] for row in chosen
    )


def test_two_classes_in_turn_are_both_held_out():
    """Every tenth row of such a file is of one class."""
    rows = labelled(["good", "bad"] * 100)
    assert {row["label"] for row in rows[9::10]} == {"bad"}
    counts = Counter(row["label"] for row in held_out(rows, classes=["label"]))
    assert counts == {"good": 10, "bad": 10}


def test_two_tasks_and_sets_of_labels():
    rng = random.Random(0)
    rows = [
        {
            "text": str(i),
            "one": rng.choice("ab"),
            "two": rng.choice("xyz"),
            "tags": ["O", *(["B-rare"] if i % 20 == 0 else [])],
            "set": Indicators([1, 0], ["p"]) if i % 2 else None,
        }
        for i in range(2000)
    ]
    both = held_out(rows, classes=["one", "two"])
    for name in ("one", "two"):
        everywhere = Counter(row[name] for row in rows)
        for label, count in Counter(row[name] for row in both).items():
            assert abs(count - everywhere[label] / 10) <= 3
    assert sum("B-rare" in row["tags"] for row in held_out(rows, classes=["tags"])) == 10
    assert sum(row["set"] is None for row in held_out(rows, classes=["set"])) == 100


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), max_size=150))
def test_rows_of_equal_content_are_on_one_side(pairs):
    # Some are no copies, so that whole texts can be held out.
    pairs = [*pairs, *((text, "b") for text in range(100, 120))]
    rows = [{"text": str(text), "label": label, "id": i} for i, (text, label) in enumerate(pairs)]
    flags = held_out_rows(rows, ["text"], ["label"]).tolist()
    sides = {}
    for row, flag in zip(rows, flags, strict=True):
        sides.setdefault(row["text"], set()).add(flag)
    assert all(len(side) == 1 for side in sides.values())
    assert sum(flags) <= len(rows) // 10
    train = {row["label"] for row, flag in zip(rows, flags, strict=True) if not flag}
    assert train == {row["label"] for row in rows}


def test_a_file_of_few_texts_is_split_copy_by_copy():
    rows = [{"text": f"text {i % 2}", "label": "ab"[i % 2], "id": i} for i in range(40)]
    chosen = held_out(rows, classes=["label"])
    assert Counter(row["label"] for row in chosen) == {"a": 2, "b": 2}
    sorted_file = sorted(rows, key=lambda row: row["label"])
    assert Counter(row["label"] for row in held_out(sorted_file, classes=["label"])) == {
        "a": 2,
        "b": 2,
    }
    # Copies with another label are others, wherever they stand.
    mixed = [row | {"label": "b" if i in (4, 12, 20) else "a"} for i, row in enumerate(rows)]
    counts = [
        Counter((row["text"], row["label"]) for row in held_out(order, classes=["label"]))
        for order in (mixed, mixed[::-1])
    ]
    assert counts[0] == counts[1] and sum(counts[0].values()) == 4


def test_the_side_of_a_row_is_the_same_for_ever():
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(60)]
    assert [row["text"] for row in held_out(rows, classes=["label"])] == FOR_EVER
    # The values of labels are compared, not how a format writes them.
    numbers = [row | {"label": i % 2} for i, row in enumerate(rows)]
    texts = [row | {"label": str(i % 2)} for i, row in enumerate(rows)]
    chosen = [[row["text"] for row in held_out(r, classes=["label"])] for r in (numbers, texts)]
    assert chosen[0] == chosen[1]
    # A file that grows keeps most of what was held out.
    more = rows + [{"text": f"more {i}", "label": "ab"[i % 2]} for i in range(60)]
    assert len({row["text"] for row in held_out(more, classes=["label"])} & set(FOR_EVER)) >= 3


FOR_EVER = ["text 7", "text 11", "text 16", "text 28", "text 52", "text 53"]


def test_odd_values():
    rows = [{"text": "\ud800", "label": None}, {"text": "\x00", "label": float("nan")}]
    assert held_out(rows, classes=["label"]) == []
    assert len(held_out(rows * 20, classes=["label"])) == 4
    assert held_out([]) == []
    assert held_out([{"x": i, "y": [1.5]} for i in range(20)], content=()) != []


@given(st.integers(0, 60), st.data())
def test_rows_are_read_as_those_of_a_list(size, data):
    items = [{"text": str(i % 40)} for i in range(size)]
    splits = hold_out({"train": lazy(items), "test": items}, ["text"])
    flags = held_out_rows(items, ["text"])
    train = [row for row, flag in zip(items, flags, strict=True) if not flag]
    assert list(splits["train"]) == train
    assert list(splits["validation"]) == [r for r, f in zip(items, flags, strict=True) if f]
    index = data.draw(st.slices(len(train)))
    assert splits["train"][index] == train[index]
    assert splits["test"] is items


def test_a_validation_split_stays():
    splits = {"train": [{"text": "a"}] * 20, "validation": []}
    assert hold_out(splits, ["text"]) == splits


def test_a_file_is_read_in_order_without_a_gap(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_BLOCK", 7)
    reads = []

    class Recorded(list):
        def __getitem__(self, index):
            reads.append((index.start, index.stop))
            return super().__getitem__(index)

    rows = Recorded({"text": str(i)} for i in range(500))
    splits = hold_out({"train": rows}, ["text"])
    for split in ("train", "validation"):
        reads.clear()
        size = len(splits[split])
        both = [*splits[split][: size // 2], *splits[split][size // 2 :]]
        assert both == list(splits[split]) and max(b - a for a, b in reads) <= 7
