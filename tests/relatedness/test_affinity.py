"""Affinities, alignment of features and information of labels against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from mtljax.relatedness import (
    conflicts,
    first_order_affinity,
    label_information,
    linear_cka,
    lookahead_affinity,
)

TARGETS = np.array([[1.0, 0.5, 0.0], [1.2, 0.4, 0.1], [-1.0, -0.5, 0.3]])


def losses(params):
    """Three tasks that pull one parameter to three places, the last against the others."""
    return jnp.mean((params["w"] - TARGETS) ** 2, axis=1)


def test_conflicts_are_pairs_with_negative_inner_products():
    gradients = np.random.default_rng(0).normal(size=(5, 3))
    found = jax.jit(conflicts)(gradients @ gradients.T)
    unit = gradients / np.linalg.norm(gradients, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.testing.assert_allclose(found.cosines, cosines, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.share, np.mean(cosines[np.triu_indices(5, 1)] < 0))
    assert jax.jit(conflicts)(np.array([[2.0]])).share == 0


def test_lookahead_is_what_a_step_of_one_task_does():
    w, rate = np.array([0.1, -0.2, 0.3]), 0.3
    gradients = {"w": np.float32(2 * (w - TARGETS) / 3)}
    found = jax.jit(lambda p, g: lookahead_affinity(losses, p, g, rate))(
        {"w": np.float32(w)}, gradients
    )
    before = np.mean((w - TARGETS) ** 2, axis=1)
    for task, target in enumerate(TARGETS):
        after = np.mean((w - rate * 2 * (w - target) / 3 - TARGETS) ** 2, axis=1)
        np.testing.assert_allclose(found[task], 1 - after / before, rtol=1e-5, atol=1e-6)


def test_first_order_is_the_limit_of_small_steps():
    with jax.enable_x64(True):
        w, rate = np.array([0.1, -0.2, 0.3]), 1e-6
        gradients = 2 * (w - TARGETS) / 3
        measured, estimated = jax.jit(
            lambda w, rows: (
                lookahead_affinity(losses, {"w": w}, {"w": rows}, rate),
                first_order_affinity(losses({"w": w}), rows @ rows.T, rate),
            )
        )(w, gradients)
    np.testing.assert_allclose(estimated, measured, rtol=1e-4)


def test_nothing_is_gained_on_a_task_that_is_learned():
    def one_is_learned(w):
        return jnp.array([w @ w, jnp.sum((w - 1) ** 2)])

    @jax.jit
    def both(w):
        gradients = jax.jacobian(one_is_learned)(w)
        measured = lookahead_affinity(one_is_learned, w, gradients, 0.1)
        return measured, first_order_affinity(one_is_learned(w), gradients @ gradients.T, 0.1)

    for affinity in map(np.asarray, both(np.ones(2, np.float32))):
        np.testing.assert_array_equal(affinity[:, 1], 0)
        assert np.all(np.isfinite(affinity))


@jax.jit
def from_zero(targets):
    def of_tasks(w):
        return jnp.sum((w - targets) ** 2, axis=1)

    w = jnp.zeros(30)
    return lookahead_affinity(of_tasks, w, jax.jacobian(of_tasks)(w), 0.05)


@pytest.mark.parametrize("seed", range(10))
def test_shared_opposed_and_unrelated_tasks_are_told_apart(seed):
    generator = np.random.default_rng(seed)
    direction, other = np.linalg.qr(generator.normal(size=(30, 2)))[0].T
    aims = [direction, direction, -direction, other]
    targets = np.stack(aims) + 0.05 * generator.normal(size=(4, 30))

    found = np.asarray(from_zero(np.float32(targets)))
    found = (found + found.T) / 2
    assert found[0, 1] > 0.1
    assert found[0, 2] < -0.05
    assert found[1, 2] < -0.05
    assert all(found[i, 2] < abs(found[i, 3]) < found[0, 1] / 2 for i in (0, 1))


def test_cka_is_that_of_centred_kernels():
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(40, 6)) + 3, generator.normal(size=(40, 4))
    y[:, :2] += x[:, :2]
    centre = np.eye(40) - 1 / 40
    of_x, of_y = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    expected = np.sum(of_x * of_y) / np.sqrt(np.sum(of_x**2) * np.sum(of_y**2))
    cka = jax.jit(linear_cka)
    np.testing.assert_allclose(cka(x, y), expected, rtol=1e-5)
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    np.testing.assert_allclose(cka(x, 5e9 * x @ rotation + 1), 1, rtol=1e-5)
    assert cka(x, np.ones((40, 4))) == 0
    with pytest.raises(ValueError, match="features must be"):
        linear_cka(x, y[1:])


information = jax.jit(label_information, static_argnums=(2, 3))


def test_information_of_labels_is_that_of_scikit_learn():
    generator = np.random.default_rng(4)
    first = generator.integers(0, 3, 200)
    second = np.where(generator.random(200) < 0.5, first, generator.integers(0, 4, 200))
    missing = generator.random(200) < 0.1
    both = ~missing
    found = information(np.where(missing, -1, first), second, 3, 5)
    expected = mutual_info_score(first[both], second[both])
    np.testing.assert_allclose(found.information, expected, rtol=1e-4)
    shares = np.bincount(first[both]) / both.sum()
    np.testing.assert_allclose(
        found.of_first, expected / -np.sum(shares * np.log(shares)), rtol=1e-4
    )
    np.testing.assert_allclose(found.by_chance, 2 * 3 / (2 * both.sum()), rtol=1e-6)


def test_independent_labels_have_the_information_of_chance():
    generator = np.random.default_rng(5)
    found = [information(*generator.integers(0, 4, (2, 300)), 4, 4) for _ in range(40)]
    mean = np.mean([one.information for one in found])
    np.testing.assert_allclose(mean, found[0].by_chance, rtol=0.3)


def test_labels_that_never_meet_tell_nothing():
    found = information(np.array([-1, 0]), np.array([1, -1]), 2, 2)
    assert all(value == 0 for value in found)
