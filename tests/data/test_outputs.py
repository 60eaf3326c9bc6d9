import dataclasses
import json

import numpy as np
import pytest

from mtljax.data import Feature, Output, Source, TokenizerSettings
from mtljax.data.outputs import as_class, task_output
from mtljax.data.tokenizers import Tokenizer, WordTokenizer, train_tokenizer
from mtljax.errors import UserError
from mtljax.tasks import Task

TOKENIZER = WordTokenizer([], TokenizerSettings())


def output(task, source, tokenizer: Tokenizer = TOKENIZER):
    return task_output(task, source, tokenizer)


def source_of(feature, values):
    rows = [{"text": "x", "y": value} for value in values]
    return Source("s", "s", {"text": Feature("text"), "y": feature}, {"train": rows})


def test_named_classes(small_source):
    task = Task("t", "small", "classification", "text", "label")
    assert output(task, small_source()) == Output(2, ("bad", "good"))


@pytest.mark.parametrize(
    ("kind", "values", "classes"),
    [
        ("number", [2, 0, -1, None, float("nan")], ("0", "1", "2")),
        ("label", [1, 0], ("0", "1")),
        ("text", ["b", "a", None, "b"], ("a", "b")),
    ],
)
def test_unnamed_classes_are_those_of_train(kind, values, classes):
    task = Task("t", "s", "classification", "text", "y")
    assert output(task, source_of(Feature(kind), values)).classes == classes


def test_no_targets_at_all():
    task = Task("t", "s", "classification", "text", "y")
    with pytest.raises(UserError, match="task 't': the train split of 's' has no targets"):
        output(task, source_of(Feature("number"), [None, -1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "bioes"}, None),
        ({"scheme": "none"}, None),
        ({"scheme": "bio"}, "task 't', field 'scheme': tag 'S-x' is not one of bio"),
        ({"scheme": "bio", "metrics": ("accuracy",)}, None),
    ],
)
def test_tags_fit_the_scheme(options, message):
    rows = [{"words": ["a"] * 3, "y": ["O", "B-x", "S-x"]}]
    features = {"words": Feature("tokens"), "y": Feature("tokens")}
    task = Task("t", "s", "tagging", "words", "y", **options)
    source = Source("s", "s", features, {"train": rows})
    if message is None:
        assert output(task, source).classes == ("B-x", "O", "S-x")
    else:
        with pytest.raises(UserError, match=message):
            output(task, source)


def test_span_f1_needs_spans(small_source):
    source = small_source(train=[{"words": ["a"], "y": ["NOUN"]}])
    source = dataclasses.replace(source, features={**source.features, "y": Feature("tokens")})
    task = Task("t", "small", "tagging", "words", "y", metrics=("span_f1",))
    with pytest.raises(UserError, match="task 't', field 'metrics': span_f1 needs .* got NOUN"):
        output(task, source)


def test_regression(small_source):
    assert output(Task("t", "small", "regression", "text", "y"), small_source()) == Output(1)


def test_language_model_over_words(small_source):
    # Its own words alone, however many more the tokenizer has.
    tokenizer = WordTokenizer(["zebra", "film", "a", "good", "bad"], TokenizerSettings())
    found = output(Task("t", "small", "language_model", "text"), small_source(), tokenizer)
    assert found.num_classes == 5
    # <oov>, </s>, then a, film, good, twice each; bad is seen once.
    assert found.ids is not None and found.ids.tolist() == [1, 3, 6, 5, 7]
    classes = found.class_of_id(tokenizer.vocab_size)
    assert classes.tolist() == [0, 0, 0, 1, 0, 3, 2, 4, 0]


def test_language_model_over_byte_pairs(small_source):
    settings = TokenizerSettings(kind="bpe", vocab_size=260)
    tokenizer = train_tokenizer([["a good film"]], settings)
    found = output(Task("t", "small", "language_model", "text"), small_source(), tokenizer)
    assert found.ids is not None and found.ids.tolist() == [1, 3, *range(4, 260)]


def test_json():
    for one in (Output(1), Output(2, ("a", "b")), Output(3, ids=np.array([1, 3, 9], np.int32))):
        two = Output.from_json(json.loads(json.dumps(one.to_json())))
        assert (two.num_classes, two.classes) == (one.num_classes, one.classes)
        np.testing.assert_array_equal(two.ids, one.ids)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (1.0, 1), ("b", 1), (-1, -1), (None, -1), (float("nan"), -1)]
)
def test_classes_of_values(value, expected):
    assert as_class(value, ("a", "b"), {"a": 0, "b": 1}) == expected


@pytest.mark.parametrize("value", [2, -2, 0.5, "c", 10**12])
def test_values_that_are_no_class(value):
    with pytest.raises(ValueError, match="label"):
        as_class(value, ("a", "b"), {"a": 0, "b": 1})
