"""Parameters of several model libraries go through the step as they are."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from mtljax import weighting
from mtljax.step import train_step

X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
BATCH = {"x": X, "sum": X.sum(1), "first": X[:, 0]}


def linen():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.tanh(nn.Dense(8)(x)))

    model = Model()
    params = model.init(jax.random.key(0), X[:1])
    return params, lambda params, x: model.apply(params, x)


def with_nnx():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.hidden, self.out = nnx.Linear(3, 8, rngs=rngs), nnx.Linear(8, 2, rngs=rngs)

        def __call__(self, x):
            return self.out(nnx.tanh(self.hidden(x)))

    graph, params = nnx.split(Model(nnx.Rngs(0)), nnx.Param)
    return params, lambda params, x: nnx.merge(graph, params)(x)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layers:
    """A model as a tree, with a leaf that was partitioned off, as Equinox has them."""

    hidden: Any
    out: Any
    activation: None = None


def a_dataclass():
    keys = jax.random.split(jax.random.key(0))
    params = Layers(jax.random.normal(keys[0], (3, 8)), jax.random.normal(keys[1], (8, 2)))
    return params, lambda params, x: jnp.tanh(x @ params.hidden) @ params.out


@pytest.mark.parametrize("make", [linen, with_nnx, a_dataclass])
def test_two_tasks_are_learned(make):
    params, apply = make()

    def loss_of(column, name):
        return lambda params, batch: jnp.mean(
            (apply(params, batch["x"])[:, column] - batch[name]) ** 2
        )

    losses = {"sum": loss_of(0, "sum"), "first": loss_of(1, "first")}
    step = train_step(losses, weighting.upgrad(), optax.adam(0.02))
    state, update = step.init(params), jax.jit(step.update, donate_argnums=0)
    state, first = update(state, BATCH)
    for _ in range(60):
        state, last = update(state, BATCH)
    assert (np.asarray(last.losses) < 0.2 * np.asarray(first.losses)).all()
    assert jax.tree.structure(state.params) == jax.tree.structure(params)
