import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.aggregation import graddrop


def test_signs_are_drawn_with_the_probability_of_the_paper(rng, tree, params, flat):
    rows = rng.normal(size=(3, 10))
    rows[:, [2, 7]] = np.abs(rows[:, [2, 7]]) * [1, -1]
    method = graddrop(3, leak=[0.0, 0.25, 1.0])
    task_grads = tree(rows, jnp.float32)

    def step(state, _):
        direction, state = method.update(task_grads, state)
        return state, direction

    _, directions = jax.jit(lambda s: jax.lax.scan(step, s, length=4000))(method.init(params))
    drawn = np.stack([flat(jax.tree.map(lambda d, i=i: d[i], directions)) for i in range(4000)])
    leak = np.array([[0.0], [0.25], [1.0]])
    positive = ((leak + (1 - leak) * (rows > 0)) * rows).sum(0)
    negative = ((leak + (1 - leak) * (rows < 0)) * rows).sum(0)
    is_positive = np.isclose(drawn, positive, rtol=1e-5, atol=1e-6)
    assert (is_positive | np.isclose(drawn, negative, rtol=1e-5, atol=1e-6)).all()
    chance = (1 + rows.sum(0) / np.abs(rows).sum(0)) / 2
    settled = (chance == 0) | (chance == 1)
    assert settled.any() and not settled.all()
    np.testing.assert_array_equal(is_positive.mean(0)[settled], chance[settled])
    # Five standard deviations of a mean of 4000 draws.
    assert (np.abs(is_positive.mean(0) - chance) < 5 * 0.5 / 4000**0.5).all()
    # Coordinates are drawn apart, within a leaf and between leaves.
    free = is_positive[:, ~settled]
    correlations = np.corrcoef(free, rowvar=False)
    assert np.abs(correlations - np.eye(len(correlations))).max() < 0.1


def test_agreeing_signs_zeros_and_one_task(tree, params, flat, rng):
    rows = np.abs(rng.normal(size=(3, 10))) * np.sign(rng.normal(size=10))
    rows[:, 4] = 0
    for kept in (rows, rows[:1]):
        method = graddrop(len(kept))
        direction, _ = jax.jit(method.update)(tree(kept, jnp.float32), method.init(params))
        np.testing.assert_allclose(flat(direction), kept.sum(0), rtol=1e-6)


def test_a_keep_function_without_chance_keeps_the_larger_sum(tree, params, flat, rng):
    rows = rng.normal(size=(3, 10))
    method = graddrop(3, keep=lambda share: share > 0.5)
    direction, _ = jax.jit(method.update)(tree(rows, jnp.float32), method.init(params))
    kept = np.sign(rows) == np.sign(rows.sum(0))
    np.testing.assert_allclose(flat(direction), (kept * rows).sum(0), rtol=1e-5, atol=1e-6)


def test_full_leak_is_the_sum(tree, params, flat, rng):
    rows = rng.normal(size=(3, 10))
    method = graddrop(3, leak=1.0)
    direction, _ = jax.jit(method.update)(tree(rows, jnp.float32), method.init(params))
    np.testing.assert_allclose(flat(direction), rows.sum(0), rtol=1e-5, atol=1e-6)


def test_seeds(tree, params, flat, rng):
    task_grads = tree(np.tile([[1.0], [-1.0]], 10), jnp.float32)

    update = jax.jit(graddrop(2).update)  # the seed is in the state alone

    def first(seed):
        return flat(update(task_grads, graddrop(2, seed=seed).init(params))[0])

    np.testing.assert_array_equal(first(3), first(jax.random.key(3)))
    assert (first(3) != first(4)).any()


@pytest.mark.parametrize("leak", [-0.1, 1.5, np.nan, [0.1, 0.2]])
def test_wrong_leaks_are_named(leak):
    with pytest.raises(ValueError, match="leak"):
        graddrop(3, leak=leak)


def test_what_keeps_is_a_function():
    with pytest.raises(TypeError, match="keep must be a function"):
        graddrop(3, keep=0.5)  # pyright: ignore[reportArgumentType]
