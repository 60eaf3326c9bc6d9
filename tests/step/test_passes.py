"""Which passes a step makes, and that the result does not depend on it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtljax import weighting
from mtljax.gradients import Examples
from mtljax.step import from_encoder, train_step
from mtljax.step.passes import choose_passes
from mtljax.weighting import wrappers


@pytest.mark.parametrize(
    ("asked", "platform", "devices", "passes"),
    [
        ("auto", "cpu", 1, "by_group"),
        ("auto", "cpu", 2, "one"),
        ("auto", "gpu", 1, "one"),
        ("auto", "tpu", 8, "one"),
        ("one", "cpu", 1, "one"),
        ("by_group", "tpu", 8, "by_group"),
    ],
)
def test_what_is_chosen(asked, platform, devices, passes):
    assert choose_passes(asked, platform, devices).passes == passes


def test_what_cannot_be_had():
    with pytest.raises(ValueError, match="passes 'one': the method reads"):
        choose_passes("one", "tpu", 8, by_task="the method reads gradients")
    with pytest.raises(ValueError, match="passes 'one': on groups"):
        choose_passes("one", "tpu", 8, by_task="the method", groups_apart="on groups")
    with pytest.raises(ValueError, match="passes must be one of auto, one, by_group, got 'two'"):
        choose_passes("two", "cpu", 1)
    assert choose_passes("auto", "tpu", 8, groups_apart="on groups") == ("by_group", "on groups")


def encode(shared, inputs):
    return jnp.tanh(inputs @ shared)


def head(params, features, targets):
    return jnp.mean((features @ params - targets) ** 2)


def together(shared, inputs):
    sizes = np.cumsum([len(x) for x in inputs.values()])[:-1]
    features = encode(shared, jnp.concatenate(list(inputs.values())))
    return dict(zip(inputs, jnp.split(features, sizes), strict=True))


ROWS = {"a": 4, "b": 2, "c": 5}
METHODS = {
    "equal": weighting.equal(),
    "fixed": wrappers.scale(weighting.fixed([1.0, 2.0, 3.0])),
    "random": weighting.random(seed=1),
    "uncertainty": weighting.uncertainty(lr=0.3),
    "dwa, every": wrappers.every(weighting.dwa(period=1), 2),
    "famo": weighting.famo(),
}


# Gradients are added up whatever the weights are, so long as these do not change.
CHANGING = ("random", "uncertainty", "dwa, every", "famo")


@pytest.mark.parametrize(
    ("name", "settings"),
    [*((name, {}) for name in METHODS), *((name, {"accumulate": 2}) for name in CHANGING)],
)
def test_one_pass_and_group_by_group_are_the_same_steps(name, settings):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    batches = [
        {n: Examples(normal(rows, 3), {n: normal(rows)}) for n, rows in ROWS.items()}
        for _ in range(4)
    ]
    params = {"shared": normal(3, 4), "heads": {n: normal(4) for n in ROWS}}
    heads = dict.fromkeys(ROWS, head)
    found = []
    for passes in ("one", "by_group"):
        objectives = from_encoder(encode, heads, encode_together=together, passes=passes)
        # That it is None or not says which way is taken.
        assert (objectives.weighted_gradient is None) == (passes == "one")
        step = train_step(
            objectives, METHODS[name], optax.sgd(0.1), task_weights=(1.0, 0.5, 2.0), **settings
        )
        state, update = jax.jit(step.init)(params, batches[0]), jax.jit(step.update)
        for batch in batches:
            state, metrics = update(state, batch)
        found.append((state, metrics))
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_without_a_pass_of_all_groups_there_is_none():
    assert from_encoder(encode, {"a": head}).weighted_gradient is not None  # on this CPU
    with pytest.raises(ValueError, match="passes 'one': there is no encode_together"):
        from_encoder(encode, {"a": head}, passes="one")
