import dataclasses

import numpy as np
import pytest

from mtljax.metrics import Mean
from mtljax.training.text_likelihood import text_likelihood


def state(count, total=50.0):
    return {"loss": Mean(np.float64(total), np.float64(count))}


@pytest.fixture
def measured(make, plain, tasks):
    """The figures of a task's test split, and its texts."""

    def run(name, count=None, **changes):
        task = dataclasses.replace(tasks[name], weights=None, **changes)
        _, data = make(plain, (task,))
        feature = task.targets or task.inputs
        texts = [row[feature] for row in data.sources["tiny"].splits["test"]]
        texts = [text for text in texts if text is not None]
        tokens = sum(len(text.split()) + 1 for text in texts)
        return text_likelihood(task, data, "test", state(count or tokens)), texts

    return run


@pytest.mark.parametrize("name", ["next", "reply"])
def test_by_words_and_bytes_of_the_texts(measured, name):
    found, texts = measured(name)
    words = sum(len(text.split()) for text in texts)
    assert found["perplexity_per_word"] == pytest.approx(np.exp(50 / words))
    count = sum(len(text) for text in texts)
    assert found["bits_per_byte"] == pytest.approx(50 / np.log(2) / count)


def test_nothing_where_texts_were_cut_off(measured):
    assert measured("next", count=7)[0] == {}


def test_nothing_where_samples_have_weights(make, plain, tasks):
    _, data = make(plain, (tasks["reply"],))
    assert tasks["reply"].weights is not None
    assert text_likelihood(tasks["reply"], data, "test", state(5)) == {}
