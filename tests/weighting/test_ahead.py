"""Weights that are known before the losses of their step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import weighting
from mtljax.weighting import wrappers

T = 3
FACTORIES = {
    **weighting.METHODS,
    "fixed": lambda: weighting.fixed([1.0, 2.0, 3.0]),
    "famo, next": lambda: weighting.famo(post="next"),
    "every": lambda: wrappers.every(weighting.dwa(period=1), 2),
    "scale": lambda: wrappers.scale(weighting.uncertainty()),
    "moving_average": lambda: wrappers.moving_average(weighting.equal()),
    "scale, geometric": lambda: wrappers.scale(weighting.geometric()),
    "normalize": lambda: wrappers.normalize(weighting.equal(), "loss"),
}
OF_GRADIENTS = {"gramian", "gramian_diagonal", "cross_gramian", "validation_gradients"}
METHODS = {
    name: method
    for name, factory in FACTORIES.items()
    if not (method := factory()).requires & OF_GRADIENTS
}
LOSSES = np.random.default_rng(0).uniform(0.2, 3, (4, T)).astype(np.float32)


@pytest.mark.parametrize("name", METHODS)
def test_marked_if_the_losses_change_the_state_alone(name):
    method = METHODS[name]
    signals = {
        name: jnp.linspace(0.5, 1.5, T) for name in method.requires - {"losses"}
    }  # of one axis of tasks each
    update = jax.jit(method.update)
    state, same = method.init(T), True
    for losses in LOSSES:
        weights, new = update(losses, state, **signals)
        others, _ = update(losses[::-1] * jnp.array([1.0, 5.0, 0.2]), state, **signals)
        same = same and np.array_equal(weights, others)
        state = new
    assert method.ahead == same
