"""Normalised methods against the methods on gradients that were divided beforehand."""

import jax
import numpy as np
import pytest

from mtljax.weighting import equal
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.wrappers import normalize
from tests.weighting.steps import assert_trees_equal, steps


def projections(requires: str = "gramian") -> Weighting:
    """Weights that depend on all of the Gramian: the products with the sum of the gradients."""

    def update(losses, state, *, present, **signals):
        del losses, present
        if "norms" in signals:
            return signals["norms"] ** 2, state
        cosines, norms = signals["gramian"]
        return norms * (cosines @ norms), state

    return guard(
        lambda num_tasks: (),
        update,
        fallback=lambda state, counted: counted.astype(float),
        requires=("losses", requires),
    )


def expected(rows, q, requires):
    scaled = q[:, None] * rows
    gramian = scaled @ scaled.T
    return q * (gramian.sum(axis=1) if requires == "gramian" else np.diagonal(gramian))


@pytest.mark.parametrize("requires", ["gramian", "gramian_diagonal"])
@pytest.mark.parametrize("by", ["l2", "loss", "loss+", "ema"])
@pytest.mark.parametrize("keep_size", [False, True])
def test_equals_the_method_on_scaled_gradients(rng, requires, by, keep_size):
    problems = rng.normal(size=(4, 3, 7)) * np.array([[0.1], [1.0], [10.0]])
    losses = rng.uniform(-3, 3, (4, 3))
    signal = problems @ problems.transpose(0, 2, 1)
    if requires == "gramian_diagonal":
        signal = np.diagonal(signal, axis1=1, axis2=2)
    method = normalize(projections(requires), by, decay=0.7, keep_size=keep_size)
    assert method.requires == {"losses", requires}
    found, _ = steps(method, losses, **{requires: signal})
    square = None
    for rows, loss, weights in zip(problems, losses, found, strict=True):
        norms = np.linalg.norm(rows, axis=1)
        square = norms**2 if square is None else 0.7 * square + 0.3 * norms**2
        size = {"l2": norms, "loss": abs(loss), "loss+": abs(loss) * norms, "ema": square**0.5}[by]
        factor = size.mean() if keep_size else 1
        np.testing.assert_allclose(weights, factor * expected(rows, 1 / size, requires), rtol=1e-9)


def test_a_method_that_reads_no_gradients():
    method = normalize(equal())
    assert method.requires == {"losses", "gramian_diagonal"}
    assert normalize(equal(), "loss").requires == {"losses"}
    found, _ = steps(normalize(equal("sum"), "loss"), np.array([[2.0, 0.0, -4.0]]))
    np.testing.assert_allclose(found, [[0.5, 0, 0.25]])


@pytest.mark.parametrize("by", ["l2", "loss+", "ema"])
def test_sizes_of_any_range(by):
    scale = np.array([1e-30, 1.0, 1e30], np.float32)
    method = normalize(projections(), by)
    losses = np.array([1e-20, 1.0, 1e20], np.float32)
    update = jax.jit(method.update)
    weights, state = update(losses, method.init(3), gramian=np.eye(3), row_scale=scale)
    assert np.isfinite(weights).all() and np.isfinite(state.sizes).all()
    if by != "loss+":
        np.testing.assert_allclose(weights * scale, 1, rtol=1e-5)
    weights, state = update(losses, state, gramian=np.zeros((3, 3)), row_scale=scale)
    assert np.isfinite(weights).all() and np.isfinite(state.sizes).all()


def test_the_average_starts_with_the_first_gradient_and_waits_for_absent_tasks():
    diagonal = np.array([[0.0, 4.0], [9.0, 100.0], [1.0, 16.0], [4.0, 16.0]])
    here = np.array([[True, True], [True, False], [True, True], [True, True]])
    diagonal[3, 0] = np.nan
    method = normalize(equal("sum"), "ema", decay=0.5)
    found, end = steps(method, np.ones((4, 2)), mask=here, gramian_diagonal=diagonal)
    np.testing.assert_allclose(found[:3], [[0, 1 / 2], [1 / 3, 0], [5**-0.5, 10**-0.5]])
    np.testing.assert_array_equal(found[3], [0, 1])  # what the method answers
    np.testing.assert_allclose(end.sizes, np.sqrt([5, 10]))


def test_a_number_that_is_not_finite():
    method = normalize(projections(), "ema", keep_size=True)
    state = method.init(2)._replace(sizes=np.array([3.0, 5.0], np.float32))
    gramian = np.diag([np.inf, 4.0])
    weights, after = jax.jit(method.update)(np.ones(2), state, gramian=gramian)
    np.testing.assert_array_equal(weights, [0, 1])
    assert_trees_equal(after, state)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="by"):
        normalize(equal(), "l1")
    with pytest.raises(ValueError, match="decay"):
        normalize(equal(), "ema", decay=1.0)
    batches = equal()._replace(requires=frozenset({"losses", "cross_gramian"}))
    with pytest.raises(ValueError, match="cross_gramian"):
        normalize(batches)
    method = normalize(equal())
    with pytest.raises(ValueError, match="gramian_diagonal"):
        method.update(np.ones(2), method.init(2))
