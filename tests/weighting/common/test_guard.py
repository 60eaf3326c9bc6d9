"""The shared part, with methods made up for the purpose."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import weighting
from mtljax.weighting.common.preference import equal_weights


class Steps(NamedTuple):
    each: jax.Array
    moments: dict
    total: jax.Array


def inverse_norm():
    """Weights 1/|g_i|, counting steps for each task and in total."""

    def init(num_tasks):
        zeros = jnp.zeros(num_tasks, jnp.int32)
        return Steps(zeros, {"matrix": jnp.zeros((num_tasks, 2))}, jnp.zeros((), jnp.int32))

    def update(losses, state, *, present, gramian):
        cosines, norms = gramian
        assert cosines.dtype == norms.dtype == jnp.float32
        new = Steps(state.each + 1, {"matrix": state.moments["matrix"] + 1.0}, state.total + 1)
        return jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1), 0), new

    return weighting.guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("losses", "gramian"),
        per_task=("each", "moments"),
    )


GRAMIAN = np.array([[4, 1, 0], [1, 16, 0], [0, 0, 1]], np.float32)
SPOILED = np.where(np.eye(3)[1] + np.eye(3)[:, [1]], np.nan, GRAMIAN).astype(np.float32)
METHOD = inverse_norm()
update = jax.jit(METHOD.update)


def test_signals_reach_the_method():
    weights, state = update(np.ones(3, np.float32), METHOD.init(3), gramian=GRAMIAN)
    np.testing.assert_allclose(weights, [0.5, 0.25, 1.0])
    assert METHOD.requires == {"losses", "gramian"} and state.total == 1


def test_absent_rows_are_zero_and_per_task_fields_wait():
    mask = np.array([True, False, True])
    losses = np.ones(3, np.float32)
    weights, state = update(losses, METHOD.init(3), gramian=SPOILED, mask=mask)
    np.testing.assert_allclose(weights, [0.5, 0.0, 1.0])
    np.testing.assert_array_equal(state.each, [1, 0, 1])
    np.testing.assert_array_equal(state.moments["matrix"], [[1, 1], [0, 0], [1, 1]])
    assert state.total == 1


@pytest.mark.parametrize("place", [(1, 1), (0, 2)])
def test_a_gramian_that_is_not_finite(place):
    state = METHOD.init(3)
    gramian = GRAMIAN.copy()
    gramian[place] = np.inf
    weights, new = update(np.ones(3, np.float32), state, gramian=gramian)
    expected = [0.5, 0, 0.5] if place == (1, 1) else [1 / 3] * 3
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, new, state)


def test_finite_rows_blames_the_task_whose_gradient_it_is():
    np.testing.assert_array_equal(
        weighting.finite_tasks(jnp.array([1.0, 1.0, jnp.inf]), gramian=SPOILED),
        [True, False, False],
    )
    np.testing.assert_array_equal(
        weighting.finite_tasks(jnp.ones(2), gramian_diagonal=jnp.array([1.0, jnp.nan])),
        [True, False],
    )


def test_missing_and_misshapen_signals_are_named():
    method = inverse_norm()
    state = method.init(3)
    with pytest.raises(ValueError, match="gramian"):
        method.update(jnp.ones(3), state)
    with pytest.raises(ValueError, match="gramian"):
        method.update(jnp.ones(3), state, gramian=jnp.ones((2, 2)))
    with pytest.raises(ValueError, match="each"):
        method.update(jnp.ones(2), state, gramian=jnp.ones((2, 2)))
    with pytest.raises(ValueError, match="gradient"):
        weighting.guard(lambda n: (), None, fallback=None, requires=("gradient",))
