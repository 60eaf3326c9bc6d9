import math
from typing import Any

import pytest

from mtljax.errors import UserError
from mtljax.tasks import Task

GOOD: dict[str, Any] = dict(dataset="d", kind="classification", inputs="text", targets="label")


def test_defaults():
    task = Task("t", **GOOD)
    assert (task.weight, task.rate, task.batch_size, task.metrics) == (1.0, None, None, ())


def test_one_input_or_several():
    given: list[Any] = ["text", ["text"], ("text",)]
    for inputs in given:
        assert Task("t", **(GOOD | {"inputs": inputs})).inputs == "text"
    pair: Any = ["premise", "hypothesis"]
    task = Task("t", **(GOOD | {"inputs": pair}))
    assert task.inputs == task.parts == ("premise", "hypothesis")


def test_class_weights_become_pairs():
    given: Any = {"yes": 2, 0: 0.5}
    task = Task("t", **GOOD, class_weights=given)
    assert task.class_weights == (("yes", 2.0), ("0", 0.5))
    assert hash(task) == hash(Task("t", **GOOD, class_weights=task.class_weights))


def test_metrics_become_a_tuple():
    given: list[Any] = [["accuracy"], "accuracy"]
    for metrics in given:
        assert Task("t", **GOOD, metrics=metrics).metrics == ("accuracy",)


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"kind": "clasification"}, "kind", "did you mean 'classification'"),
        ({"kind": "text_to_text", "targets": None}, "targets", "needs one"),
        ({"kind": "text_to_text", "inputs": ("a", "b")}, "inputs", "reads one feature"),
        ({"references": "others"}, "references", "kind classification takes none"),
        ({"kind": None}, "kind", "expected a name"),
        ({"dataset": ""}, "dataset", "expected a name"),
        ({"inputs": 3}, "inputs", "expected a name"),
        ({"inputs": ("a", 3)}, "inputs", "expected a name"),
        ({"inputs": []}, "inputs", "names no feature"),
        ({"inputs": ("a", "b", "a")}, "inputs", "a name appears twice"),
        ({"inputs": ("a", "b"), "kind": "tagging"}, "inputs", "kind tagging reads one feature"),
        (
            {"inputs": ("a", "b"), "kind": "language_model", "targets": None},
            "inputs",
            "reads one feature",
        ),
        ({"inputs": ("a", "b", "c"), "max_length": 2}, "max_length", "less than 3"),
        ({"targets": None}, "targets", "needs one"),
        ({"kind": "language_model"}, "targets", "takes none"),
        ({"loss": "sigmod"}, "loss", "did you mean 'sigmoid'"),
        ({"loss": "huber"}, "loss", "known: softmax"),
        ({"metrics": ("acuracy",)}, "metrics", "did you mean 'accuracy'"),
        ({"metrics": ("accuracy", "accuracy")}, "metrics", "twice"),
        ({"metrics": (1,)}, "metrics", "list of names"),
        ({"scheme": "bio"}, "scheme", "kind classification takes none"),
        ({"kind": "tagging", "scheme": "bioe"}, "scheme", "did you mean"),
        ({"kind": "tagging", "scheme": 3}, "scheme", "unknown scheme 3"),
        ({"constrained": True}, "constrained", "kind classification"),
        ({"kind": "tagging", "constrained": 1}, "constrained", "true or false"),
        ({"kind": "tagging", "scheme": "none", "constrained": True}, "constrained", "a scheme"),
        ({"kind": "tagging", "loss": "crf", "label_smoothing": 0.1}, "label_smoothing", "crf"),
        ({"kind": "tagging", "scheme": "none", "metrics": ("span_f1",)}, "metrics", "a scheme"),
        ({"class_weights": "balance"}, "class_weights", "expected 'balanced'"),
        ({"class_weights": {}}, "class_weights", "by class"),
        ({"class_weights": 2.0}, "class_weights", "by class"),
        ({"class_weights": ["a"]}, "class_weights", "a class and its weight"),
        ({"class_weights": {"a": "b"}}, "class_weights", "class 'a': expected a number"),
        ({"class_weights": {"a": -1}}, "class_weights", "class 'a': -1 is not in [0, inf)"),
        ({"class_weights": {"a": math.nan}}, "class_weights", "nan is not in [0, inf)"),
        ({"class_weights": {True: 1}}, "class_weights", "got True (quote it)"),
        ({"class_weights": {1: 1, "1": 2}}, "class_weights", "a class appears twice"),
        (
            {"class_weights": "balanced", "kind": "regression"},
            "class_weights",
            "kind regression takes none",
        ),
        ({"rate": 0}, "rate", "(0, 1]"),
        ({"rate": 1.5}, "rate", "(0, 1]"),
        ({"rate": math.nan}, "rate", "nan"),
        ({"rate": "x"}, "rate", "expected a number"),
        ({"weight": -1}, "weight", "[0, inf)"),
        ({"weight": math.inf}, "weight", "inf"),
        ({"weight": True}, "weight", "expected a number"),
        ({"weight": None}, "weight", "expected a number"),
        ({"label_smoothing": 1}, "label_smoothing", "[0, 1)"),
        ({"label_smoothing": 0.1, "loss": "hinge"}, "label_smoothing", "with loss 'hinge'"),
        (
            {"label_smoothing": 0.1, "kind": "language_model", "targets": None},
            "label_smoothing",
            "not for language_model",
        ),
        ({"rename_words": 0.1}, "rename_words", "kind classification takes none"),
        ({"kind": "text_to_text", "rename_words": 1.1}, "rename_words", "[0, 1]"),
        ({"kind": "text_to_text", "rename_words": True}, "rename_words", "expected a number"),
        ({"batch_size": 0}, "batch_size", "less than 1"),
        ({"batch_size": 1.5}, "batch_size", "whole number"),
        ({"max_length": 1}, "max_length", "less than 2"),
        ({"rate": 0.5, "batch_size": 4}, "batch_size", "not both"),
    ],
)
def test_bad_fields_are_named(fields, field, message):
    with pytest.raises(UserError) as error:
        Task("review", **(GOOD | fields))
    assert "'review'" in str(error.value)
    assert f"field '{field}'" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", "a b", "../x", 3, None, "-x"])
def test_bad_names(name):
    with pytest.raises(UserError, match="task name"):
        Task(name, **GOOD)


def test_schemes_have_other_names():
    for scheme, name in {"IOB2": "bio", "BILOU": "bilou", "iobes": "bioes", "None": "none"}.items():
        assert Task("t", "d", "tagging", "words", "tags", scheme=scheme).scheme == name
