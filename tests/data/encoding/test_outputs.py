import dataclasses
import json
import statistics
from fractions import Fraction

import numpy as np
import pytest

from mtljax.data import Feature, Source, TokenizerSettings, load_data
from mtljax.data.encoding.outputs import check_classes, class_note, task_output
from mtljax.data.tokenizers import Tokenizer, WordTokenizer, train_tokenizer
from mtljax.errors import UserError
from mtljax.kinds import KINDS, Output
from mtljax.kinds.labels import indexed
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
        ("number", [2, 0, 1, -1, None, float("nan")], ("0", "1", "2")),
        # Dense from 0: one of eleven that no row of train has is a class all the same.
        ("number", [*range(9), 10], tuple(map(str, range(11)))),
        # Numbers that are names: those that occur.
        ("number", [10170101, 11130405, -100], ("10170101", "11130405")),
        ("number", [5, 4.0, 3, 2, 1, -1], ("1", "2", "3", "4", "5")),
        ("number", [0, 4, 2], ("0", "2", "4")),
        ("label", [7], ("7",)),
        ("number", [True, False], ("false", "true")),
        ("number", [True, 0], ("0", "1")),
        ("text", ["1.0", "1", "2.0", "-1", "-100", " "], ("1", "2.0")),
        ("label", [1, 0], ("0", "1")),
        ("text", ["b", "a", None, "b"], ("a", "b")),
    ],
)
def test_unnamed_classes_are_those_of_train(kind, values, classes):
    task = Task("t", "s", "classification", "text", "y")
    assert output(task, source_of(Feature(kind), values)).classes == classes


@pytest.mark.parametrize(
    ("values", "begun", "classes"),
    [
        ([1, 5, 3], tuple("012345"), tuple("012345")),
        ([True, False], ("0", "1"), ("0", "1")),
        ([1, 7], tuple("012345"), ("1", "7")),
        ([1, 5, 3], (), ("1", "3", "5")),
    ],
)
def test_the_classes_of_a_run_stay(values, begun, classes):
    task = Task("t", "s", "classification", "text", "y", class_weights="balanced")
    found = task_output(
        task, source_of(Feature("number"), values), TOKENIZER, Output(len(begun), begun)
    )
    assert found.classes == classes
    occurring = [name for name, weight in zip(classes, found.class_weights, strict=True) if weight]
    assert len(occurring) == len(classes)


def test_no_targets_at_all():
    task = Task("t", "s", "classification", "text", "y")
    with pytest.raises(UserError, match="task 't': the train split of 's' has no targets"):
        output(task, source_of(Feature("number"), [None, -1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "bioes"}, None),
        ({"scheme": "none"}, None),
        ({"scheme": "IOBES"}, None),
        (
            {"constrained": True},
            "field 'scheme': scheme bioes forbids 'B-x' next to all",
        ),
        ({"loss": "crf", "scheme": "none"}, None),
        ({"scheme": "bio"}, "field 'scheme': tag 'S-x' is not one of bio; .* those of bioes"),
        ({"scheme": "bilou"}, "task 't', field 'scheme': tag 'S-x' is not one of bilou"),
        ({"scheme": "bio", "metrics": ("accuracy",)}, None),
    ],
)
def test_tags_fit_the_scheme(options, message):
    task = Task("t", "s", "tagging", "words", "y", **options)
    classes = ("B-x", "O", "S-x")
    if message is None:
        check_classes(task, classes)
    else:
        with pytest.raises(UserError, match=message):
            check_classes(task, classes)


@pytest.mark.parametrize(
    ("tags", "scheme", "classes"),
    [
        (["B-x", "", "I-x", None], None, ("", "B-x", "I-x")),
        (["B", "", "I"], None, ("", "B", "I")),
        (["PER", "", "LOC"], "io", ("", "LOC", "PER")),
        # With an outside of its own, or among other tags, an empty one is missing.
        (["B-x", "", "O"], None, ("B-x", "O")),
        (["B-x", "", "I-x"], "none", ("B-x", "I-x")),
        (["NOUN", "", "VERB"], None, ("NOUN", "VERB")),
    ],
)
def test_an_empty_tag_may_be_the_one_outside(tags, scheme, classes):
    features = {"words": Feature("tokens"), "y": Feature("tokens")}
    rows = [{"words": ["w"] * len(tags), "y": tags}]
    source = Source("s", "s", features, {"train": rows})
    task = Task("t", "s", "tagging", "words", "y", scheme=scheme)
    assert output(task, source).classes == classes
    number = {name: i for i, name in enumerate(classes)}
    row_classes = KINDS["tagging"].row_classes
    assert row_classes is not None
    found = row_classes(tags, tags, indexed(classes, numbered=False))
    assert found == [number.get(tag, -1) for tag in tags]


def test_what_is_told_of_tags():
    task = Task("t", "s", "tagging", "words", "y")
    assert "mark spans by scheme bio" in (class_note(task, ("B", "I", "O")) or "")
    assert "counted one by one" in (class_note(task, ("O", "PER")) or "")
    assert class_note(task, ("B-x", "O")) is None
    # What the user says needs no word.
    for own in ({"scheme": "none"}, {"scheme": "io"}, {"metrics": ("accuracy",)}):
        assert class_note(dataclasses.replace(task, **own), ("O", "PER")) is None
    measured = dataclasses.replace(task, metrics=("span_f1",))
    assert class_note(measured, ("B", "I", "O")) is not None


def test_span_f1_needs_spans(monkeypatch):
    rows = [{"words": ["a"], "y": ["NOUN"]}]
    features = {"words": Feature("tokens"), "y": Feature("tokens")}
    source = Source("s", "s", features, {"train": rows})
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_sources.load_source", lambda name, data_dir, **_: source
    )
    task = Task("t", "s", "tagging", "words", "y", metrics=("span_f1",))
    with pytest.raises(UserError, match="task 't', field 'metrics': span_f1 needs .* got NOUN"):
        load_data((task,))


@pytest.mark.parametrize(
    "values",
    [
        [2, -1, 0.5],
        [1.7e9 + i for i in range(7)],
        [3e38, -3e38, 5e37, float("-inf"), 1e39],
        [250_000, None, float("nan"), 199_999.5, float("inf")],
    ],
)
def test_numbers_have_a_mean_and_a_deviation(values):
    task = Task("t", "s", "regression", "text", "y")
    found = output(task, source_of(Feature("number"), values))
    present = [value for value in values if value is not None and abs(value) < 3.4e38]
    exact = [Fraction(value) for value in present]
    variance = statistics.pvariance(exact)
    assert found.num_classes == 1 and not found.classes
    assert found.mean == pytest.approx(float(statistics.mean(exact)), rel=1e-15)
    assert float(Fraction(found.deviation) ** 2 / variance) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "mean"), [([0.1] * 9, 0.1), ([None, float("nan")], 0.0), ([7, None], 7.0)]
)
def test_equal_numbers_have_a_deviation_of_one(values, mean):
    found = output(Task("t", "s", "regression", "text", "y"), source_of(Feature("number"), values))
    assert (found.mean, found.deviation) == (mean, 1.0)


def test_numbers_that_count_for_nothing_have_no_part_in_the_mean():
    rows = [{"text": "x", "y": y, "w": w} for y, w in ((1, 1), (3, 0.5), (99, 0), (9, None))]
    features = {"text": Feature("text"), "y": Feature("number"), "w": Feature("number")}
    source = Source("s", "s", features, {"train": rows})
    found = output(Task("t", "s", "regression", "text", "y", weights="w"), source)
    assert (found.mean, found.deviation) == (2.0, 1.0)


def test_numbers_of_a_run_stay():
    task = Task("t", "s", "regression", "text", "y")
    source = source_of(Feature("number"), [10, 20])
    for begun in (Output(1), Output(1, mean=3.0, deviation=0.5)):
        assert task_output(task, source, TOKENIZER, begun) == begun


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
    weighted = Output(3, ("a", "b", "c"), class_weights=(1 / 3, 1.0, 7.1))
    model = Output(3, ids=np.array([1, 3, 9], np.int32))
    scaled = Output(1, mean=-3.25, deviation=1e-9)
    for one in (Output(1), Output(2, ("a", "b")), model, weighted, scaled):
        two = Output.from_json(json.loads(json.dumps(one.to_json())))
        assert (two.num_classes, two.classes) == (one.num_classes, one.classes)
        assert two.class_weights == one.class_weights
        assert (two.mean, two.deviation) == (one.mean, one.deviation)
        np.testing.assert_array_equal(two.ids, one.ids)


def test_json_of_before_and_damaged_json():
    content = Output(1).to_json()
    assert "mean" not in content  # as it was written before
    for damage in ({"deviation": 0.0}, {"deviation": -1}, {"mean": float("nan")}, {"mean": "x"}):
        with pytest.raises(ValueError):
            Output.from_json(content | damage)
