"""Which tasks have one function as their heads."""

import dataclasses

import numpy as np
import pytest

from mtljax.kinds import Output
from mtljax.modules import HeadsConfig
from mtljax.tasks import Task
from mtljax.training.objectives import model_functions
from mtljax.training.objectives.device_layout import ONE_PROGRAM
from tests.training import on_devices

THREE = Output(3, ("a", "b", "c"))
FIRST = Task("first", "first", "classification", "text", "label", loss="sigmoid")
SECOND = dataclasses.replace(FIRST, name="second", dataset="second")
WORDS = Output(5, ids=np.arange(2, 7, dtype=np.int32))


def are_one(second, output=THREE, first=FIRST, first_output=THREE, negatives=0):
    config = on_devices.configuration("linear", heads=HeadsConfig(negatives=negatives))
    outputs = {"first": first_output, "second": output}
    counts = {name: np.arange(5) for name in outputs}
    model = on_devices.make(config, [first, second], outputs=outputs, counts=counts)
    found = model_functions.heads(model, ONE_PROGRAM, alike=True)
    return found["first"] is found["second"]


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({}, THREE),
        ({"weight": 3.0, "weights": "alpha", "metrics": ("macro_f1",), "rate": 0.3}, THREE),
        ({"loss": "logistic"}, Output(3, ("x", "y", "z"))),
    ],
)
def test_tasks_that_compute_the_same(changes, output):
    assert are_one(dataclasses.replace(SECOND, **changes), output)


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ({"label_smoothing": 0.1}, THREE),
        ({"loss": "softmax"}, THREE),
        ({"loss": "hinge"}, THREE),
        ({"kind": "multilabel"}, THREE),
        ({"kind": "tagging", "loss": None}, THREE),
        ({"kind": "regression", "loss": None}, Output(1)),
        ({}, Output(4, ("a", "b", "c", "d"))),
        ({}, Output(3, ("a", "b", "c"), class_weights=(1.0, 2.0, 3.0))),
    ],
)
def test_tasks_that_do_not(changes, output):
    assert not are_one(dataclasses.replace(SECOND, **changes), output)


def test_class_weights_are_data():
    outputs = [Output(3, ("a", "b", "c"), class_weights=(1.0, 2.0, 3.0 + i)) for i in range(2)]
    assert are_one(SECOND, outputs[1], first_output=outputs[0])


def test_words_are_those_of_one_list():
    first, second = (Task(n, n, "language_model", "text") for n in ("first", "second"))
    more = Output(5, ids=np.arange(3, 8, dtype=np.int32))
    assert are_one(second, WORDS, first, WORDS)
    assert not are_one(second, more, first, WORDS)
    # Negatives are drawn from the words of each.
    assert not are_one(second, WORDS, first, WORDS, negatives=2)
