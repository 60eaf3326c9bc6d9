"""GO4Align against a transcription that tries every grouping."""

from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.go4align import go4align
from tests.weighting.steps import steps

DEFAULT = go4align()


def grouped(scaled, num_groups):
    """Group means of the grouping with the least squared distances, over all groupings."""
    best, least = None, np.inf
    for labels in product(range(num_groups), repeat=len(scaled)):
        labels = np.array(labels)
        means = np.array([scaled[labels == label].mean() for label in labels])
        cost = np.sum((scaled - means) ** 2)
        if cost < least:
            best, least = means, cost
    return best


def transcript(rows, num_groups, eta):
    probability, found = np.full(rows.shape[1], 1 / rows.shape[1]), []
    for losses in rows:
        probability = probability * np.exp(-eta * losses)
        probability = probability / probability.sum()
        found.append(grouped(probability * losses.sum() / losses, num_groups))
    return np.stack(found)


@pytest.mark.parametrize("num_groups", [1, 2, 3])
def test_equals_the_transcript(rng, num_groups):
    rows = rng.uniform(0.1, 5, (6, 5))
    found, _ = steps(go4align(num_groups, eta=0.3), rows)
    np.testing.assert_allclose(found, transcript(rows, num_groups, 0.3), rtol=1e-10)


def test_as_many_groups_as_tasks(rng):
    rows = rng.uniform(0.1, 5, (6, 5))
    expected = transcript(rows, 5, 0.1)
    np.testing.assert_allclose(steps(go4align(7, 0.1), rows)[0], expected, rtol=1e-10)


def test_an_absent_task_keeps_its_part(rng):
    """The others share what they had; without it they are as if it did not exist."""
    rows = rng.uniform(0.1, 5, (4, 3))
    method = go4align(eta=0.5)
    here = np.array([[True, True, False]] * 4)
    here[0, 2] = True
    _, first = steps(method, rows, mask=here & (np.arange(4) == 0)[:, None])  # then nobody
    _, later = steps(method, rows, mask=here)
    assert first.log_probability[2] == later.log_probability[2]
    assert (first.log_probability[:2] != later.log_probability[:2]).all()
    assert np.exp(later.log_probability).sum() == pytest.approx(1)
    alone, _ = steps(method, rows[:, :2])
    never, _ = steps(method, rows, mask=np.array([[True, True, False]] * 4))
    np.testing.assert_allclose(never[:, :2], alone, rtol=1e-12)


@pytest.mark.parametrize("size", [-1.0, 0.0, 1e-30, 1.0, 1e30, 3e38])
def test_equal_losses_have_weight_one(size):
    found, end = steps(DEFAULT, np.full((3, 4), size), dtype="float32")
    np.testing.assert_allclose(found, 1, rtol=1e-5)
    np.testing.assert_allclose(np.exp(end.log_probability), 0.25, rtol=1e-5)


def test_one_task():
    np.testing.assert_allclose(steps(DEFAULT, [[3.0], [1.0]])[0], 1)


def test_losses_far_apart():
    method = go4align(num_groups=4, eta=10.0)
    rows = np.tile([0.0, 1e-30, 1.0, 1e30], (50, 1))
    found, end = steps(method, rows, dtype="float32")
    assert np.isfinite(found).all() and np.isfinite(end.log_probability).all()
    # q is within 1e-19 and 1e19; the task with the huge loss has lost its probability.
    np.testing.assert_allclose(found[0, :2], float(np.finfo(np.float32).tiny) ** -0.5, rtol=1e-4)
    assert 0 < found[0, 3] < 1e-18
    for huge in (3e38, -3e38):
        rows = np.tile([huge, 1.0, huge, -huge], (50, 1))
        found, end = steps(method, rows, dtype="float32")
        assert np.isfinite(found).all() and np.isfinite(end.log_probability).all()


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: go4align(num_groups=0), ValueError, "num_groups"),
        (lambda: go4align(num_groups=2.0), TypeError, "num_groups"),
        (lambda: go4align(eta=0.0), ValueError, "eta"),
        (lambda: go4align().update(jnp.ones(2), go4align().init(3)), ValueError, "log_probability"),
    ],
)
def test_wrong_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call()
