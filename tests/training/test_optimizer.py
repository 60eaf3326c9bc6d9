import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import regularizers
from mtljax.presets import OptimizerConfig, RegularizerConfig
from mtljax.training.optimizer import learning_rate_schedule, make_optimizer, proximal_step

PEAK, FINAL = 2.0, 0.1


def closed_form(name, step, warmup, steps):
    if step < warmup:
        return PEAK * (step + 1) / (warmup + 1)
    share = min((step - warmup) / (steps - warmup), 1)
    return {
        "constant": PEAK,
        "linear": PEAK * (1 - share * (1 - FINAL)),
        "cosine": PEAK * (FINAL + (1 - FINAL) * (1 + np.cos(np.pi * share)) / 2),
    }[name]


@pytest.mark.parametrize("warmup", [0, 1, 5])
@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_schedule(name, warmup):
    config = OptimizerConfig(PEAK, name, warmup_steps=warmup, final_fraction=FINAL)
    schedule = learning_rate_schedule(config, 20)
    for step in (0, 1, 4, 5, 6, 13, 19, 20, 30):
        expected = closed_form(name, step, warmup, 20)
        np.testing.assert_allclose(schedule(step), expected, rtol=1e-5)
        np.testing.assert_allclose(jax.jit(schedule)(step), expected, rtol=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_run_shorter_than_the_warm_up(steps):
    schedule = learning_rate_schedule(OptimizerConfig(PEAK, warmup_steps=50), steps)
    rates = [float(schedule(i)) for i in range(max(steps, 1))]
    assert all(0 < rate <= PEAK for rate in rates) and max(rates) == PEAK


def test_schedule_counts_updates():
    config = OptimizerConfig(PEAK, "linear", 0, final_fraction=0.0, accumulate=5)
    np.testing.assert_allclose(learning_rate_schedule(config, 50)(10), 0.0, atol=1e-6)


def test_a_warm_up_by_share_of_the_updates():
    config = OptimizerConfig(
        PEAK, "linear", 50, final_fraction=FINAL, warmup_share=0.1, accumulate=2
    )
    schedule = learning_rate_schedule(config, 100)  # 50 updates
    for step in (0, 4, 5, 30, 50):
        expected = closed_form("linear", step, 5, 50)
        np.testing.assert_allclose(schedule(step), expected, rtol=1e-5)


PARAMS = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0])}
PLAIN = OptimizerConfig(0.1, "constant", 0, clip_norm=0.0)


def first_update(config, grads) -> Any:
    optimizer = make_optimizer(config, 10)
    return optimizer.update(grads, optimizer.init(PARAMS), PARAMS)[0]


def test_decay_covers_matrices_alone():
    config = dataclasses.replace(PLAIN, weight_decay=0.5)
    updates = first_update(config, jax.tree.map(jnp.zeros_like, PARAMS))
    np.testing.assert_allclose(updates["kernel"], -0.1 * 0.5 * PARAMS["kernel"])
    np.testing.assert_array_equal(updates["bias"], 0)


def test_decay_does_not_reach_norms_and_biases_of_stacked_layers():
    params: Any = {"layers": {"up": {"kernel": jnp.ones((2, 3, 4)), "bias": jnp.ones((2, 4))},
                              "qkv": {"bias": jnp.ones((2, 3, 2, 2))},
                              "norm": {"scale": jnp.ones((2, 3))}}}  # fmt: skip
    optimizer = make_optimizer(dataclasses.replace(PLAIN, weight_decay=0.5), 10)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    moved = {
        jax.tree_util.keystr(path) for path, u in jax.tree.leaves_with_path(updates) if u.any()
    }
    assert moved == {"['layers']['up']['kernel']"}


def test_first_step_of_adam_has_the_size_of_the_rate():
    grads = jax.tree.map(lambda p: 7.0 * jnp.sign(p), PARAMS)
    updates = first_update(PLAIN, grads)
    jax.tree.map(lambda u, p: np.testing.assert_allclose(u, -0.1 * np.sign(p), rtol=1e-5),
                 updates, PARAMS)  # fmt: skip


def test_clipping_makes_the_second_step_blind_to_size():
    grads = jax.tree.map(jnp.ones_like, PARAMS)

    def after_two(config, factor) -> Any:
        optimizer = make_optimizer(config, 10)
        state = optimizer.init(PARAMS)
        _, state = optimizer.update(grads, state, PARAMS)
        larger = jax.tree.map(lambda g: factor * g, grads)
        updates: Any = optimizer.update(larger, state, PARAMS)[0]
        return updates["bias"]

    clipped = dataclasses.replace(PLAIN, clip_norm=0.5)
    np.testing.assert_allclose(after_two(clipped, 10.0), after_two(clipped, 1000.0), rtol=1e-6)
    assert not np.allclose(after_two(PLAIN, 10.0), after_two(PLAIN, 1000.0), rtol=1e-3)


def test_the_proximal_step_solves_for_both_penalties():
    """Of the sparse group lasso no other point is better, by half the squared distance."""
    config = RegularizerConfig(l1=0.3, group_lasso=0.2, l1_on="words", group_lasso_on="words")
    rng = np.random.default_rng(0)
    leaf = jnp.asarray(
        rng.normal(size=(5, 4)) * np.array([[1], [0.2], [1], [2], [0.4]]), jnp.float32
    )
    rate = 0.9
    step = jax.jit(proximal_step(config))({"words": leaf, "bias": leaf}, rate)
    np.testing.assert_array_equal(step["bias"], leaf)
    best = step["words"]
    assert np.any(best == 0) and np.any(np.all(best == 0, axis=1)) and np.any(best != 0)

    def objective(words):
        penalty = 0.3 * regularizers.l1(words) + 0.2 * regularizers.group_lasso(words)
        return rate * penalty + jnp.sum((words - leaf) ** 2) / 2

    others = [best + scale * rng.normal(size=leaf.shape) for scale in (1e-2, 0.1, 1.0) * 4]
    for other in (*others, leaf, 0.9 * best):
        distance = float(jnp.sum((other - best) ** 2) / 2)
        assert objective(other) >= objective(best) + distance - 1e-5


def test_a_run_has_the_step_after_its_update():
    config = OptimizerConfig(1e-2, "constant", warmup_steps=0, clip_norm=0.0)
    regularizer = RegularizerConfig(group_lasso=1.0, group_lasso_on="words", proximal=True)
    params = {"words": jnp.array([[1e-3, 2e-3], [3.0, 4.0]]), "kernel": jnp.ones((2, 2))}
    gradients = jax.tree.map(jnp.ones_like, params)
    updated = []
    for penalty in (RegularizerConfig(), regularizer):
        optimizer = make_optimizer(config, 10, regularizer=penalty)
        updates, _ = optimizer.update(gradients, optimizer.init(params), params)
        updated.append(jax.tree.map(jnp.add, params, updates))
    plain, sparse = updated
    np.testing.assert_array_equal(sparse["kernel"], plain["kernel"])
    np.testing.assert_array_equal(sparse["words"][0], 0)
    length = np.linalg.norm(plain["words"][1])
    expected = plain["words"][1] * (1 - 1e-2 * 2**0.5 / length)
    np.testing.assert_allclose(sparse["words"][1], expected, rtol=1e-6)
