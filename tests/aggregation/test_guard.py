"""The guard of aggregators, on the smallest of formulas: the sum of the tasks that count."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.aggregation.guard import guard

GRADIENTS = np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]], np.float32)


def total(task_grads, state, *, counted, **required):
    direction = jnp.sum(jnp.where(counted[:, None], task_grads, 0).astype(jnp.float32), axis=0)
    return direction, {"counted": counted, **required}


METHOD: Any = guard(3, lambda params: (), total)


@pytest.mark.parametrize(
    ("spoiled", "loss", "mask", "counted"),
    [
        (None, 1.0, None, [True, True, True]),
        (None, 1.0, [True, False, True], [True, False, True]),
        (np.nan, 1.0, None, [True, False, True]),
        (-np.inf, 1.0, None, [True, False, True]),
        (None, np.inf, None, [True, False, True]),
        (np.nan, np.nan, [False, True, True], [False, False, True]),
    ],
)
def test_tasks_count_that_are_present_and_finite(spoiled, loss, mask, counted):
    gradients = GRADIENTS.copy()
    if spoiled is not None:
        gradients[1, 0] = spoiled
    mask = None if mask is None else jnp.array(mask)
    direction, state = METHOD.update(gradients, (), losses=[1.0, loss, 1.0], mask=mask)
    assert state["counted"].tolist() == counted
    np.testing.assert_array_equal(direction, GRADIENTS[counted].sum(axis=0))


def test_the_losses_need_not_be_known():
    direction, state = METHOD.update(GRADIENTS, (), np.zeros(2), value=3.0)
    assert state.keys() == {"counted"}
    np.testing.assert_array_equal(direction, GRADIENTS.sum(axis=0))


def test_the_direction_has_the_dtype_of_the_gradients():
    direction, _ = METHOD.update(GRADIENTS.astype(jnp.bfloat16), ())
    assert direction.dtype == jnp.bfloat16


def test_required_keywords_reach_the_formula_and_missing_ones_are_named():
    method: Any = guard(3, lambda params: (), total, requires=("losses", "inner_losses"))
    _, state = method.update(GRADIENTS, (), losses=np.ones(3), inner_losses=7, other=8)
    assert state.keys() == {"counted", "losses", "inner_losses"} and state["inner_losses"] == 7
    with pytest.raises(ValueError, match=r"^inner_losses missing: update\(.*losses=losses"):
        method.update(GRADIENTS, (), losses=np.ones(3))
    with pytest.raises(ValueError, match="^losses, inner_losses missing"):
        method.update(GRADIENTS, (), inner_losses=None)
