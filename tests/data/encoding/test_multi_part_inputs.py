import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax.data import DataOptions, Feature, Source, TokenizerSettings, load_data
from mtljax.data.encoding.multi_part_inputs import encode_parts, first_yields, longest_first
from mtljax.data.tokenizers import train_tokenizer
from mtljax.errors import UserError
from mtljax.tasks import Task

SETTINGS = {
    "words": TokenizerSettings(min_count=1, prefixes=(2,), suffixes=(), affix_buckets=8),
    "bpe": TokenizerSettings(kind="bpe", vocab_size=265),
}
FIRST = ["a good film", "", "one two three four five", ["x", "y"]]
SECOND = ["bad", "what a film it was", "six seven eight nine", ["y"]]


def cut_one_by_one(lengths, limit):
    lengths = list(lengths)
    while sum(lengths) > limit:
        most = max(lengths)
        lengths[max(i for i, n in enumerate(lengths) if n == most)] -= 1
    return lengths


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_the_longest_part_loses_a_piece_first(data):
    parts = data.draw(st.integers(2, 4))
    lengths = data.draw(
        st.lists(st.lists(st.integers(1, 12), min_size=parts, max_size=parts), max_size=4)
    )
    limit = data.draw(st.integers(parts, 40))
    found = longest_first(np.array(lengths, np.int64).reshape(-1, parts), limit)
    assert found.tolist() == [cut_one_by_one(row, limit) for row in lengths]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 20))
@settings(max_examples=200, deadline=None)
def test_the_first_part_makes_room_for_the_second(first, second, limit):
    ((one, two),) = first_yields(np.array([[first, second]]), limit).tolist()
    if first + second <= limit:
        assert (one, two) == (first, second)
    elif 1 + second <= limit:
        assert (one + two, two) == (limit, second)
    else:  # and one more, which the last position predicts
        assert (one, two) == (1, min(second, limit))


@pytest.mark.parametrize("limit", [2, 5, 30])
@pytest.mark.parametrize("kind", SETTINGS)
def test_parts_stand_one_after_another(kind, limit):
    tokenizer = train_tokenizer([FIRST, SECOND], SETTINGS[kind])
    found = encode_parts([FIRST, SECOND], tokenizer, limit)
    for i, (a, b) in enumerate(zip(FIRST, SECOND, strict=True)):
        one, two = tokenizer.encode([a]), tokenizer.encode([b])
        first, second = cut_one_by_one([len(one.tokens), len(two.tokens)], limit)
        at = slice(found.starts[i], found.starts[i + 1])
        assert (
            found.tokens[at].tolist()
            == [
                *one.tokens[:first].tolist(),
                3,  # </s>
                *two.tokens[1:second].tolist(),
            ]
        )
        for name in ("affixes", "words"):
            expected = np.concatenate([getattr(one, name)[:first], getattr(two, name)[:second]])
            np.testing.assert_array_equal(getattr(found, name)[at], expected)
    assert (found.tokens.dtype, found.starts.dtype) == (np.int32, np.int64)


def test_no_texts_at_all():
    tokenizer = train_tokenizer([FIRST], SETTINGS["words"])
    assert encode_parts([[], []], tokenizer, 8).starts.tolist() == [0]


@pytest.fixture
def pairs(monkeypatch):
    rows = [
        {"a": "b c", "b": "d e f", "label": 1, "y": 0.5},
        {"a": "", "b": "c", "label": 0, "y": 1.5},
    ]
    features = {
        "a": Feature("text"),
        "b": Feature("text"),
        "label": Feature("label", ("no", "yes")),
        "y": Feature("number"),
    }
    source = Source("pairs", "pairs", features, {"train": rows})
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_sources.load_source", lambda name, data_dir, **_: source
    )


PAIR = Task("nli", "pairs", "classification", ("a", "b"), "label")


def test_pairs_form_a_group_of_their_own(pairs):
    tasks = (
        PAIR,
        Task("near", "pairs", "regression", ("a", "b"), "y"),
        Task("back", "pairs", "classification", ("b", "a"), "label"),
        Task("alone", "pairs", "classification", "a", "label"),
    )
    data = load_data(
        tasks,
        DataOptions(row_length=8, batch_tokens=32),
        tokenizer=TokenizerSettings(min_count=1),
    )
    assert {g.name: [t.name for t in g.tasks] for g in data.groups} == {
        "pairs": ["nli", "near"],
        "pairs_bidirectional": ["back"],
        "pairs_a": ["alone"],
    }
    # Both features are counted once, whatever the number of groups that read them.
    assert data.tokenizer.pieces[4:] == ("c", "b", "d", "e", "f")
    examples = data.examples["pairs"]["train"]
    spelled = [data.tokenizer.pieces[i] for i in examples.tokens]
    assert spelled == "<s> b c </s> d e f <s> </s> c".split()
    assert examples.targets["nli"].tolist() == [1, 0]
    assert examples.targets["near"].tolist() == [-1, 1]


def test_a_row_has_room_for_every_part(pairs):
    three = Task("t", "pairs", "regression", ("a", "b", "c"), "y")
    with pytest.raises(UserError, match="row_length 2: too short for the 3 inputs of task 't'"):
        load_data((three,), DataOptions(row_length=2))
    with pytest.raises(UserError, match="task 't', field 'inputs': data set 'pairs' has no .*'c'"):
        load_data((three,), DataOptions(row_length=8))
