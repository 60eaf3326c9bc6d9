"""Layouts of plans against those of the data that they stand for."""

import dataclasses

import pytest

from mtljax.data import DataOptions, load_data
from mtljax.data.tokenizers import TokenizerSettings
from mtljax.errors import UserError
from mtljax.planning import Assumed, planned_layout
from mtljax.tasks import Dataset, Task

STARS = Task("stars", "amazon_sentiment", "regression", "text", "rating")
LABEL = Task("label", "amazon_sentiment", "classification", "text", "label")
NEXT = Task("next", "amazon_sentiment", "language_model", "text")
TOKENIZER = TokenizerSettings(num_words=300)
OPTIONS = DataOptions(row_length=32, batch_tokens=512, row_multiple=2)


def test_a_set_that_the_sample_holds_is_known_exactly():
    tasks = (STARS, LABEL, NEXT)
    whole = load_data(tasks, OPTIONS, tokenizer=TOKENIZER).layout
    layout = planned_layout(tasks, OPTIONS, tokenizer=TOKENIZER)
    assert layout.to_json() == whole.to_json()


def test_a_part_of_a_set_stands_for_the_whole():
    """As many rows, from the sample's lengths; the vocabulary is what the settings allow."""
    other = Task("other", "movie_sentiment", "classification", "text", "label")
    whole = load_data((LABEL, other), OPTIONS, tokenizer=TOKENIZER).layout
    data = load_data((LABEL, other), OPTIONS, tokenizer=TOKENIZER, sample=100)
    assert all(len(source.splits["train"]) == 100 for source in data.sources.values())
    rows = {name: shape.rows for name, shape in data.layout.shapes.items()}
    expected = {name: shape.rows for name, shape in whole.shapes.items()}
    assert sum(rows.values()) == sum(expected.values())
    assert all(abs(rows[name] - expected[name]) <= 2 for name in rows)


def made(name, kind, targets=None, **more):
    return Task(name, f"no_such_{name}", kind, "words", targets, **more)


def test_nothing_is_read():
    kinds = Dataset(
        "no_such_sort", path="none.jsonl", features={"sort": {"classes": ["a", "b", "c"]}}
    )
    tasks = (
        made("tags", "tagging", "tags"),
        made("sort", "classification", "sort", sources=(kinds,)),
        made("many", "multilabel", "labels"),
        made("next", "language_model"),
        made("stars", "regression", "stars"),
        dataclasses.replace(made("side", "classification", "side"), dataset="no_such_tags"),
    )
    options = dataclasses.replace(OPTIONS, batch_tokens=5 * 32 * 4)
    assumed = Assumed(classes=7, texts=3)
    layout = planned_layout(tasks, options, assumed, tokenizer=TOKENIZER)
    sizes = {name: output.num_classes for name, output in layout.outputs.items()}
    assert sizes == {"tags": 7, "sort": 3, "many": 7, "next": 302, "stars": 1, "side": 7}
    assert layout.vocab_size == 304
    apart = dataclasses.replace(options, apart=True)
    apart = planned_layout(tasks, apart, assumed, tokenizer=TOKENIZER)
    assert len(apart.groups) == len(tasks) > len(layout.groups)
    # Two tasks on one set share a group; every group has equal rows.
    groups = {group.name: [task.name for task in group.tasks] for group in layout.groups}
    assert groups.pop("no_such_tags") == ["tags", "side"] and len(groups) == 4
    assert {(s.rows, s.row_length, s.max_segments) for s in layout.shapes.values()} == {(4, 32, 3)}


def test_vocabularies():
    def size(given=0, **settings):
        tokenizer = TokenizerSettings(**settings)
        assumed = Assumed(classes=2, vocabulary=given)
        tasks = (made("next", "language_model"),)
        return planned_layout(tasks, DataOptions(), assumed, tokenizer=tokenizer).vocab_size

    assert size(kind="wordpiece", vocab_size=900) == 900
    assert size(kind="byte") == 256 + 4
    assert size(given=77) == 77
    with pytest.raises(UserError, match="--assume.vocabulary"):
        size(kind="character")
