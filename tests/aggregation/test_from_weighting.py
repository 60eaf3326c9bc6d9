from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.experimental import aggregating

from mtljax import aggregation, optim, weighting

PARAMS = {"kernel": np.ones((2, 3), np.float32), "bias": np.zeros(3, np.float32)}
LOSSES = np.array([1.0, 2.0], np.float32)


def grads(rng, tasks=2):
    return jax.tree.map(lambda p: rng.normal(size=(tasks, *p.shape)).astype(np.float32), PARAMS)


def products(task_grads, name):
    """A signal in NumPy."""
    rows = np.concatenate([g.reshape(len(g), -1) for g in jax.tree.leaves(task_grads)], axis=1)
    gramian = rows @ rows.T
    return gramian if name == "gramian" else np.diagonal(gramian)


def combined(weights, task_grads):
    return jax.tree.map(lambda g: np.tensordot(weights, g, 1), task_grads)


def signal_reader(name):
    """A weighting whose weights show a signal: `n_i sum_j K_ij n_j`, or the norms."""

    def update(losses, state, *, present, **signals):
        del losses, present
        if name == "gramian":
            cosines, norms = signals["gramian"]
            return norms * (cosines @ norms), state
        return signals["norms"], state

    return weighting.guard(
        lambda n: (), update, fallback=lambda s, c: c.astype(float), requires=("losses", name)
    )


def test_equal_is_the_mean(rng):
    task_grads = grads(rng)
    aggregator = aggregation.from_weighting(weighting.equal(), 2)
    assert isinstance(aggregator, aggregating.Aggregator)
    state = aggregator.init(PARAMS)
    expected, _ = aggregating.average_per_element_updates(0).update(task_grads, optax.EmptyState())
    direction, _ = jax.jit(aggregator.update)(task_grads, state, PARAMS, losses=LOSSES)
    for a, b in zip(jax.tree.leaves(direction), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("name", ["gramian", "gramian_diagonal"])
@pytest.mark.parametrize("given", [False, True])
def test_gradient_signals_are_computed_unless_given(rng, name, given):
    task_grads = grads(rng)
    value = products(task_grads, name) * np.float32(3 if given else 1)
    aggregator = aggregation.from_weighting(signal_reader(name), 2)
    signals = {name: value} if given else {}
    update = jax.jit(aggregator.update)
    direction, _ = update(task_grads, aggregator.init(PARAMS), losses=LOSSES, **signals)
    expected = combined(np.sqrt(value) if value.ndim == 1 else value.sum(1), task_grads)
    for a, b in zip(jax.tree.leaves(direction), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def both_reader():
    """Weights n_i / |g_i|, which read the norms from one signal and from the other."""

    def update(losses, state, *, present, gramian, norms):
        del losses, present
        return gramian.norms / norms, state

    return weighting.guard(
        lambda n: (),
        update,
        fallback=lambda s, c: c.astype(float),
        requires=("losses", "gramian", "gramian_diagonal"),
    )


@pytest.mark.parametrize("given", [(), ("gramian",), ("gramian_diagonal",), ("row_scale",)])
def test_a_method_may_read_both_signals(rng, given):
    task_grads = grads(rng)
    scale = np.array([2.0, 0.5], np.float32)
    scaled = jax.tree.map(lambda g: g / scale.reshape(-1, *[1] * (g.ndim - 1)), task_grads)
    signals = {name: products(task_grads, name) for name in given if name != "row_scale"}
    if "row_scale" in given:
        signals = {"row_scale": scale, "gramian_diagonal": products(scaled, "gramian_diagonal")}
    aggregator = aggregation.from_weighting(both_reader(), 2)
    direction, _ = jax.jit(aggregator.update)(task_grads, (), losses=LOSSES, **signals)
    jax.tree.map(
        lambda d, g: np.testing.assert_allclose(d, g.sum(0), rtol=1e-5), direction, task_grads
    )


def unit_sum():
    """Weights 1/|g_i|."""

    def update(losses, state, *, present, norms):
        del losses
        return jnp.where(present, 1 / jnp.where(present, norms, 1), 0), state

    return weighting.guard(
        lambda n: (),
        update,
        fallback=lambda s, c: c.astype(float),
        requires=("losses", "gramian_diagonal"),
    )


UNIT_SUM = aggregation.from_weighting(unit_sum(), 2)
EQUAL = aggregation.from_weighting(weighting.equal(), 2)


@pytest.mark.parametrize(
    ("sizes", "jit"),
    [
        ((1e-25, 1e25), True),
        ((1e-25, 1e-30), True),
        ((1e28, 1e25), True),
        ((1e25, 1.0), True),
        ((1e25, 1.0), False),
    ],
)
def test_gradients_of_any_size(rng, sizes, jit):
    ordinary = grads(rng)
    scaled = jax.tree.map(
        lambda g: g * np.float32(sizes).reshape(-1, *[1] * (g.ndim - 1)), ordinary
    )
    update = jax.jit(UNIT_SUM.update) if jit else UNIT_SUM.update
    direction, _ = update(scaled, (), losses=LOSSES)
    expected, _ = update(ordinary, (), losses=LOSSES)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), direction, expected)


def test_an_absent_task_may_have_any_gradient(rng):
    task_grads = grads(rng)
    for leaf in jax.tree.leaves(task_grads):
        leaf[1] = np.nan
    mask = np.array([True, False])
    update = jax.jit(EQUAL.update)
    direction, _ = update(task_grads, EQUAL.init(PARAMS), losses=LOSSES, mask=mask)
    jax.tree.map(lambda d, g: np.testing.assert_array_equal(d, g[0]), direction, task_grads)


@pytest.mark.parametrize("how", ["chain", "process"])
def test_stands_in_front_of_any_optimizer(rng, how):
    aggregator = aggregation.from_weighting(weighting.fixed([1.0, 3.0]), 2)
    if how == "chain":
        optimizer = optax.chain(aggregator, optax.adam(0.1))
    else:  # it does not pass extra arguments to plain transformations
        optimizer = aggregating.process(
            optax.with_extra_args_support(optax.identity()),
            aggregator,
            optax.with_extra_args_support(optax.adam(0.1)),
        )
    optimizer = cast(Any, optimizer)
    task_grads = grads(rng)
    update = jax.jit(optimizer.update)
    updates, _ = update(task_grads, optimizer.init(PARAMS), PARAMS, losses=LOSSES)
    adam = optax.adam(0.1)
    direction = combined(np.float32([1, 3]), task_grads)
    expected, _ = jax.jit(adam.update)(direction, adam.init(PARAMS), PARAMS)
    for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_wrong_arguments_are_named(rng):
    aggregator = aggregation.from_weighting(weighting.equal(), 2)
    state = aggregator.init(PARAMS)
    with pytest.raises(ValueError, match="losses"):
        aggregator.update(grads(rng), state)
    with pytest.raises(ValueError, match="3 tasks"):
        aggregator.update(grads(rng, 3), state, losses=LOSSES)
    with pytest.raises(ValueError, match="losses_after"):
        reader = aggregation.from_weighting(signal_reader("losses_after"), 2)
        reader.update(grads(rng), reader.init(PARAMS), losses=LOSSES)
    with pytest.raises(ValueError, match="num_tasks"):
        aggregation.from_weighting(weighting.equal(), 0)
    with pytest.raises(ValueError, match="weights"):
        aggregation.from_weighting(weighting.fixed([1.0]), 2)


LOSS_ONLY = [
    name
    for name, make in weighting.METHODS.items()
    if name != "fixed" and make().requires <= {"losses"}
]


@pytest.mark.parametrize(
    ("name", "bad"), [*((name, np.nan) for name in LOSS_ONLY), ("equal", -np.inf)]
)
def test_a_task_whose_gradient_is_not_finite_is_left_out(name, bad):
    """Behind a finite loss: the same as where its loss is not finite, and its gradient zero."""
    broken, zero = (jax.tree.map(np.array, grads(np.random.default_rng(0), 3)) for _ in range(2))
    broken["bias"][1, 2] = bad
    for leaf in jax.tree.leaves(zero):
        leaf[1] = 0
    losses = np.array([1.0, 2.0, 0.5], np.float32)
    aggregator = aggregation.from_weighting(weighting.METHODS[name](), 3)
    state, update = aggregator.init(PARAMS), jax.jit(aggregator.update)
    found, after = update(broken, state, PARAMS, losses=losses)
    losses[1] = np.nan
    expected, kept = update(zero, state, PARAMS, losses=losses)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.isfinite(a).all() and np.any(a)
        np.testing.assert_allclose(a, b, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(kept), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gramian_that_is_given_does_not_hide_a_gradient(rng):
    task_grads = grads(rng)
    broken = jax.tree.map(np.copy, task_grads)
    broken["bias"][0, 0] = np.nan
    aggregator = aggregation.from_weighting(weighting.imtl_g(), 2)
    gramian = np.eye(2, dtype=np.float32)
    update = jax.jit(aggregator.update)
    direction, _ = update(broken, aggregator.init(PARAMS), losses=LOSSES, gramian=gramian)
    bias = cast(Any, direction)["bias"]
    np.testing.assert_allclose(bias, task_grads["bias"][1], rtol=1e-6)


def test_adam_survives_a_gradient_that_is_not_finite(rng):
    task_grads = grads(rng)
    broken = jax.tree.map(np.copy, task_grads)
    broken["bias"][0, 0] = np.nan
    optimizer = optim.multi_objective(weighting.equal(), optax.adam(1e-2), 2)
    update = jax.jit(optimizer.update)
    _, state = update(broken, optimizer.init(PARAMS), PARAMS, losses=LOSSES)
    updates, _ = update(task_grads, state, PARAMS, losses=LOSSES)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, updates)))
