from dataclasses import replace

import numpy as np
import pytest

from mtljax.data import DataOptions, Shape, all_causal, load_data, unpack
from mtljax.data.batching.batches import evaluation_batches
from mtljax.tasks import DEFAULT_TASKS
from tests.data.packed import EXAMPLES, SHAPE, TASKS, check, make_examples


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_evaluation_sees_each_example_once(rows):
    shape = Shape(rows=rows, row_length=12, max_segments=5, affixes=2)
    seen, examples = [], []
    for batch in evaluation_batches(EXAMPLES, TASKS, shape):
        found = check(batch, EXAMPLES, shape)
        assert batch["example"].shape == (rows, 5)
        assert sorted(batch["example"][batch["example"] >= 0].tolist()) == sorted(found)
        seen += found
        examples += [example for example, _ in unpack(batch, batch["tokens"])]
    assert sorted(seen) == sorted(examples) == list(range(len(EXAMPLES)))


def test_passages_of_a_row_are_numbered():
    examples = replace(EXAMPLES, rows=(np.arange(len(EXAMPLES)) // 3).astype(np.int32))
    numbers = {}
    for batch in evaluation_batches(examples, TASKS, SHAPE):
        assert ((batch["passage"] < 0) == (batch["example"] < 0)).all()
        for row, passage in zip(batch["example"].flat, batch["passage"].flat, strict=True):
            numbers.setdefault(int(row), []).append(int(passage))
    numbers.pop(-1)
    last = numbers.pop(max(numbers))
    assert all(sorted(passages) == [0, 1, 2] for passages in numbers.values())
    assert sorted(last) == list(range(len(last)))


def test_unpacking():
    for batch in evaluation_batches(EXAMPLES, TASKS, SHAPE):
        logits = np.stack([batch["tokens"], batch["positions"]], -1)
        for example, answer in unpack(batch, logits):
            span = slice(EXAMPLES.starts[example], EXAMPLES.starts[example + 1])
            np.testing.assert_array_equal(answer[:, 0], EXAMPLES.tokens[span])
        for example, answer in unpack(batch, batch["targets"]["c"]):
            assert answer == example


def test_nothing_to_evaluate():
    assert list(evaluation_batches(make_examples(np.zeros(0, int)), TASKS, SHAPE)) == []


@pytest.fixture(scope="module")
def default_data():
    return load_data(DEFAULT_TASKS, DataOptions(64, 4096, attention=all_causal))


def test_most_of_the_default_batches_is_real(default_data):
    batches = default_data.training_batches(0, ahead=0)
    steps = [next(batches) for _ in range(30)]
    for name in steps[0]:
        real = np.mean([(step[name]["segments"] > 0).mean() for step in steps])
        assert real > 0.95, name
    ids = sum(batch["tokens"].size for batch in steps[0].values())
    assert ids == 4096
