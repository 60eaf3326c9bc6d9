import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients


def tree(rng, dtype=np.float32, tasks=4):
    shapes = {"kernel": (3, 5), "bias": (5,), "scale": ()}
    return {name: rng.normal(size=(tasks, *shape)).astype(dtype) for name, shape in shapes.items()}


def flat(task_grads):
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(task_grads)]
    return np.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)


@pytest.mark.parametrize("jit", [False, True])
def test_equals_numpy(rng, jit):
    task_grads = tree(rng)
    f = jax.jit(gradients.gramian) if jit else gradients.gramian
    result = f(task_grads)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, flat(task_grads) @ flat(task_grads).T, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(result, result.T)
    np.testing.assert_allclose(
        gradients.gramian_diagonal(task_grads), jnp.diagonal(result), rtol=1e-6
    )


@pytest.mark.parametrize("f", [gradients.gramian, gradients.gramian_diagonal])
def test_float64_leaves(rng, f):
    with jax.enable_x64(True):
        task_grads = tree(rng, np.float64)
        result, expected = f(task_grads), flat(task_grads) @ flat(task_grads).T
        assert result.dtype == jnp.float64
        expected = expected if result.ndim == 2 else np.diagonal(expected)
        np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-13)
        assert f(tree(rng)).dtype == jnp.float32


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("f", [gradients.gramian, gradients.gramian_diagonal])
def test_low_precision_leaves_accumulate_in_float32(f, dtype):
    """A sum of 4096 ones would stop at 256 in bfloat16, 300^2 overflows float16."""
    result = f({"a": jnp.ones((2, 4096), dtype), "b": jnp.full((2,), 300, dtype)})
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result, np.full_like(result, 4096 + 300.0**2))


def test_leaves_are_not_flattened(rng):
    """Where they may be sharded; on a CPU a leaf is one block of memory."""
    traced = jax.jit(gradients.gramian).trace(tree(rng))
    text = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert "reshape" not in text and "concatenate" not in text


@pytest.mark.parametrize("num_tasks", [1, 7, 8, 9, 20, 33, 64])
@pytest.mark.parametrize("length", [3, 2 * 8192, 5 * 5003])
def test_long_leaves_and_many_tasks(rng, num_tasks, length):
    """Taken piece by piece on a CPU; some pieces are not full."""
    leaf = rng.normal(size=(num_tasks, length)).astype(np.float32)
    weights = np.where(np.arange(num_tasks) == 2, 0, rng.normal(size=num_tasks))
    gramian = jax.jit(gradients.gramian)
    found = gramian(leaf)
    wide = leaf.astype(float)
    np.testing.assert_allclose(found, wide @ wide.T, rtol=1e-5, atol=1e-5 * length)
    leaf[2:3] = np.nan  # has no weight
    found = gramian({"long": leaf, "short": leaf[:, :2], "more": leaf})
    bad = np.arange(num_tasks) == 2
    np.testing.assert_array_equal(np.isnan(found), bad[:, None] | bad)
    direction = jax.jit(gradients.combine)(weights, leaf)
    expected = np.where(weights != 0, weights, 0) @ np.nan_to_num(leaf.astype(float))
    np.testing.assert_allclose(direction, expected, rtol=1e-5, atol=1e-5)


def test_combine_equals_numpy(rng):
    task_grads, weights = tree(rng), rng.normal(size=4).astype(np.float32)
    for f in (gradients.combine, jax.jit(gradients.combine)):
        result = f(weights, task_grads)
        np.testing.assert_allclose(
            flat(jax.tree.map(lambda leaf: leaf[None], result))[0],
            weights @ flat(task_grads),
            rtol=1e-5,
            atol=1e-6,
        )
        assert jax.tree.map(jnp.shape, result) == {"kernel": (3, 5), "bias": (5,), "scale": ()}


def test_combine_and_gramian_agree_on_the_length_of_the_direction(rng):
    task_grads, weights = tree(rng), jnp.array([0.1, 0.2, 0.3, 0.4])
    direction = gradients.combine(weights, task_grads)
    squared = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(direction))
    np.testing.assert_allclose(
        squared, weights @ gradients.gramian(task_grads) @ weights, rtol=1e-5
    )


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_task_of_weight_zero_is_left_out(poison):
    result = gradients.combine(jnp.array([0.0, 2.0]), jnp.array([[poison, 1.0], [1.0, 3.0]]))
    np.testing.assert_array_equal(result, [2, 6])


def test_combine_keeps_dtypes_and_accumulates_in_float32():
    tasks = 1024
    result = gradients.combine(jnp.ones(tasks), jnp.ones((tasks, 2), jnp.bfloat16))
    assert result.dtype == jnp.bfloat16
    np.testing.assert_array_equal(result.astype(jnp.float32), tasks)


@pytest.mark.parametrize("f", [gradients.gramian, gradients.gramian_diagonal, gradients.task_count])
@pytest.mark.parametrize(
    ("task_grads", "error", "names"),
    [
        ({}, ValueError, "no leaves"),
        ({"a": jnp.ones(())}, ValueError, "'a'"),
        ({"a": jnp.ones((0, 2))}, ValueError, "'a'"),
        ({"a": jnp.ones((2, 1)), "b": [jnp.ones((3, 1))]}, ValueError, "'b/0'"),
        ({"a": jnp.ones((2, 1), int)}, TypeError, "'a'"),
        ({"a": jnp.ones((2, 1), complex)}, TypeError, "'a'"),
    ],
)
def test_wrong_trees_are_named(f, task_grads, error, names):
    with pytest.raises(error, match=names):
        f(task_grads)


def test_wrong_weights_are_named():
    with pytest.raises(ValueError, match="weights"):
        gradients.combine(jnp.ones(3), jnp.ones((2, 4)))
