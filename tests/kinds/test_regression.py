"""Numbers are learned in deviations from their mean, and answered in the user's units."""

import json

import numpy as np
import pytest

from mtljax.data import DataOptions, TokenizerSettings, load_data
from mtljax.errors import UserError
from mtljax.kinds import KINDS, Output
from mtljax.tasks import Dataset, Task
from mtljax.training.reporting.data_notes import data_notes

KIND = KINDS["regression"]


@pytest.fixture
def load(tmp_path):
    """From numbers of train and validation to the data of a regression on them."""

    def make(train, validation=(), bad_rows="stop", begun=None):
        files = {}
        for split, values in (("train", train), ("validation", validation)):
            if len(values):
                rows = [json.dumps({"text": f"t {i}", "y": y}) for i, y in enumerate(values)]
                (tmp_path / f"{split}.jsonl").write_text("\n".join(rows))
                files[split] = str(tmp_path / f"{split}.jsonl")
        source = Dataset("s", files, features={"text": "text", "y": {"column": "y", "kind": "number"}})  # pyright: ignore  # fmt: skip  # noqa: E501
        task = Task("price", "s", "regression", "text", "y", sources=(source,))
        options = DataOptions(row_length=8, batch_tokens=64, bad_rows=bad_rows)
        return load_data((task,), options, tokenizer=TokenizerSettings(min_count=1), begun=begun)

    return make


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e5, 3e6), (1e-7, 0.0), (3.0, 1.7e9)])
def test_the_unit_of_the_data_does_not_matter(load, scale, offset):
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=50), 3)
    train = (offset + scale * values).tolist()
    data = load(train, train[:7])
    for split, count in (("train", 50), ("validation", 7)):
        targets = data.examples["s"][split].targets["price"]
        assert targets.dtype == np.float32
        expected = (values[:count] - values.mean()) / values.std()
        np.testing.assert_allclose(targets, expected, atol=1e-6)
        answers = [KIND.answer(target, data.outputs["price"], ())["value"] for target in targets]
        np.testing.assert_allclose(answers, train[:count], atol=1e-6 * scale, rtol=1e-12)


def test_metrics_are_in_the_units_of_the_data():
    output = Output(1, mean=10.0, deviation=4.0)
    units = {name: KIND.metric_unit(name, output) for name in KIND.metrics}
    assert units == {"mean_squared_error": 16.0, "mean_absolute_error": 4.0, "loss": 1.0}
    assert {KIND.metric_unit(name, Output(1)) for name in KIND.metrics} == {1.0}
    assert KINDS["tagging"].metric_unit("accuracy", output) == 1.0


def test_a_constant_target_is_told_and_answered(load):
    data = load([5.5] * 20, [5.5, 7.5])
    assert "task 'price': all its targets in train are one number" in data_notes(data)
    assert data.examples["s"]["validation"].targets["price"].tolist() == [0, 2]
    assert KIND.answer(np.float32(0), data.outputs["price"], ()) == {"value": 5.5}


def test_missing_and_unusable_numbers(load):
    data = load([1.0, None, 3.0], [None, 1.0])
    assert data.examples["s"]["train"].weights["price"].tolist() == [1, 0, 1]
    assert data.examples["s"]["validation"].weights["price"].tolist() == [0, 1]
    message = "row 1 .*line 2\\): 3e\\+38 is too far from the mean 2.0 in units of 0.1"
    with pytest.raises(UserError, match=message):
        load([1.9, 2.1], [1.9, 3e38])
    skipping = load([1.9, 2.1], [1.9, 3e38], bad_rows="skip")
    assert skipping.skipped_targets == {"price": {"validation": 1}}


def test_a_run_of_before_keeps_its_units(load):
    data = load([10.0, 20.0], begun={"price": Output(1)})
    assert data.examples["s"]["train"].targets["price"].tolist() == [10, 20]
    assert data.layout.to_json()["outputs"]["price"] == {
        "num_classes": 1, "classes": [], "ids": None, "class_weights": []
    }  # fmt: skip
