import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from mtljax.data.encoding.class_weights import class_weights
from mtljax.errors import UserError
from mtljax.tasks import Task

CLASSES = ("a", "b", "c", "d")


def task(kind="classification", weights="balanced", **fields):
    inputs = "words" if kind == "tagging" else "text"
    return Task("t", "s", kind, inputs, "y", class_weights=weights, **fields)


def test_balanced_weights_equal_sklearn():
    values = np.random.default_rng(0).choice(3, 50, p=[0.7, 0.2, 0.1])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=values)
    rows = [{"y": int(value)} for value in values]
    assert class_weights(task(), CLASSES, rows) == pytest.approx([*expected, 1.0])
    named = [{"y": CLASSES[value]} for value in values]
    assert class_weights(task(), CLASSES, named) == class_weights(task(), CLASSES, rows)


def test_what_is_not_counted():
    rows = [
        {"y": 0, "w": 1.0},
        {"y": 1, "w": 0.5},
        {"y": 1, "w": 2.0},
        {"y": 1, "w": 0.0},
        {"y": 0, "w": None},
        {"y": -1, "w": 1.0},
        {"y": None, "w": 1.0},
        {"y": 9, "w": 1.0},
    ]
    weighed = Task("t", "s", "classification", "text", "y", weights="w", class_weights="balanced")
    assert class_weights(weighed, CLASSES, rows) == (3 / 2, 3 / 4, 1.0, 1.0)


def test_tags():
    rows = [
        {"words": ["x", "y", "z"], "y": [0, 0, 2]},
        {"words": ["x", "y"], "y": [0, -1]},
        {"words": ["x"], "y": [3, 3]},  # of another length
        {"words": ["x"], "y": None},
    ]
    assert class_weights(task("tagging"), CLASSES, rows) == (4 / 6, 1.0, 4 / 2, 1.0)


def test_sets_of_labels():
    rows = [{"y": y} for y in ([0, 1], [0], [1, 1], [], None, [2, -1])]
    # A label twice in a set makes a row that cannot be used.
    assert class_weights(task("multilabel"), CLASSES, rows) == (3 / 4, 3 / 2, 1.0, 1.0)


def test_weights_that_are_named():
    assert class_weights(task(weights={"c": 2, "a": 0.5}), CLASSES, []) == (0.5, 1.0, 2.0, 1.0)
    assert class_weights(task(weights=None), CLASSES, []) == ()


def test_an_unknown_class_is_named():
    message = "task 't', field 'class_weights': unknown class 'bad'; did you mean 'bade'"
    with pytest.raises(UserError, match=message):
        class_weights(task(weights={"bad": 2}), ("bade", "good"), [])
