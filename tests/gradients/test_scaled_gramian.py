import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients

CASES = {
    "ordinary": [1.0, 1e-3, 1e4],
    "small": [1e-25, 1e-28, 1e-30],
    "large": [1e25, 1e30, 1e20],
    "mixed": [1e-30, 1.0, 1e30],
    "zero": [1.0, 0.0, 2.0],
    "zero and small": [1e-25, 0.0, 1.0],
    "all zero": [0.0, 0.0, 0.0],
}


def tree(rng, sizes, dtype=np.float32):
    shapes = {"kernel": (3, 5), "scale": ()}
    return {
        name: np.asarray(
            rng.normal(size=(len(sizes), *shape)) * np.reshape(sizes, (-1,) + (1,) * len(shape)),
            dtype,
        )
        for name, shape in shapes.items()
    }


def exact(task_grads):
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(task_grads)]
    rows = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
    norms = np.linalg.norm(rows, axis=1)
    units = rows / np.where(norms > 0, norms, 1)[:, None]
    return units @ units.T, norms


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
@pytest.mark.parametrize("sizes", CASES.values(), ids=CASES.keys())
def test_norms_and_cosines_are_those_of_float64(rng, sizes, dtype):
    task_grads = tree(rng, sizes, dtype)
    cosines, norms = exact(task_grads)
    for f in (gradients.scaled_gramian, jax.jit(gradients.scaled_gramian)):
        gramian, scale = f(task_grads)
        assert gramian.dtype == scale.dtype == jnp.float32
        found = np.sqrt(np.diagonal(gramian))
        np.testing.assert_allclose(found * np.asarray(scale, np.float64), norms, rtol=1e-6)
        units = np.where(found > 0, found, 1)
        np.testing.assert_allclose(gramian / units / units[:, None], cosines, atol=1e-6)
        mantissas, _ = np.frexp(scale)
        np.testing.assert_array_equal(mantissas, 0.5)
    squares, scale = jax.jit(gradients.scaled_gramian_diagonal)(task_grads)
    np.testing.assert_allclose(np.sqrt(squares, dtype=np.float64) * scale, norms, rtol=1e-6)


@pytest.mark.parametrize("length", [2 * 8192, 3 * 8192 + 77])
def test_long_rows(rng, length):
    """Rescaled piece by piece on a CPU."""
    rows = rng.normal(size=(4, length)) * np.reshape([1e-30, 1, 1e30, 1], (4, 1))
    cosines, norms = exact(rows[:3])
    rows[3, 7] = np.nan
    gramian, scale = jax.jit(gradients.scaled_gramian)(jnp.asarray(rows, jnp.float32))
    found = np.sqrt(np.diagonal(gramian)[:3])
    np.testing.assert_allclose(found * np.asarray(scale, np.float64)[:3], norms, rtol=1e-5)
    np.testing.assert_allclose(gramian[:3, :3] / found / found[:, None], cosines, atol=1e-5)
    assert np.isnan(gramian[3]).all() and np.isnan(gramian[:, 3]).all()


def test_ordinary_gradients_are_multiplied_once(rng):
    """The second product sits in a branch that is not taken."""
    task_grads = tree(rng, CASES["ordinary"])
    for scaled, plain in (
        (gradients.scaled_gramian, gradients.gramian),
        (gradients.scaled_gramian_diagonal, gradients.gramian_diagonal),
    ):
        products, scale = scaled(task_grads)
        np.testing.assert_array_equal(products, plain(task_grads))
        np.testing.assert_array_equal(scale, 1)
        jaxpr = jax.make_jaxpr(scaled)(task_grads)
        assert "reduce_max" not in [e.primitive.name for e in jaxpr.jaxpr.eqns]
        assert "reduce_max" in str(jaxpr)


def test_an_absent_task_asks_for_no_scale(rng):
    task_grads = tree(rng, CASES["zero"])
    mask = jnp.array([True, False, True])
    assert (gradients.scaled_gramian(task_grads)[1] != 1).any()
    for f in (gradients.scaled_gramian, gradients.scaled_gramian_diagonal):
        np.testing.assert_array_equal(f(task_grads, mask)[1], 1)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_number_that_is_not_finite_spoils_its_own_row_only(rng, poison):
    task_grads = tree(rng, CASES["small"])
    task_grads["scale"][1] = poison
    gramian, scale = jax.jit(gradients.scaled_gramian)(task_grads)
    _, norms = exact(jax.tree.map(lambda leaf: leaf[[0, 2]], task_grads))
    assert not np.isfinite(gramian[1, 1]) and scale[1] == 1
    found = np.sqrt(np.diagonal(gramian)) * np.asarray(scale, np.float64)
    np.testing.assert_allclose(found[[0, 2]], norms, rtol=1e-6)


def test_float64(rng):
    with jax.enable_x64(True):
        task_grads = tree(rng, [1e-200, 1.0, 1e-290], np.float64)
        gramian, scale = jax.device_get(jax.jit(gradients.scaled_gramian)(task_grads))
        assert gramian.dtype == scale.dtype == jnp.float64
        cosines, norms = exact(
            jax.tree.map(
                lambda leaf: leaf / scale.reshape((-1,) + (1,) * (leaf.ndim - 1)), task_grads
            )
        )
        np.testing.assert_allclose(gramian, cosines * norms * norms[:, None], rtol=1e-13)
        ones = {"a": np.ones((2, 1))}
        np.testing.assert_array_equal(jax.jit(gradients.scaled_gramian)(ones)[1], 1)


def test_vmap(rng):
    trees = [tree(rng, sizes) for sizes in (CASES["ordinary"], CASES["mixed"])]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    gramians, scales = jax.jit(jax.vmap(gradients.scaled_gramian))(stacked)
    for task_grads, gramian, scale in zip(trees, gramians, scales, strict=True):
        one = jax.jit(gradients.scaled_gramian)(task_grads)
        np.testing.assert_array_equal(scale, one.row_scale)
        np.testing.assert_allclose(gramian, one.gramian, rtol=1e-5)


def test_combine_with_weights_as_large_as_the_gradients_are_small():
    for size in (1e-30, 1e-25, 1e25, 1e30):
        rows = jnp.array([[1.0, 2.0], [3.0, -1.0]]) * jnp.array([[size], [1 / size]])
        weights = jnp.array([1 / size, size])
        np.testing.assert_allclose(gradients.combine(weights, rows), [4.0, 1.0], rtol=1e-6)


def test_a_wrong_mask_is_named(rng):
    with pytest.raises(ValueError, match="mask"):
        gradients.scaled_gramian(tree(rng, CASES["ordinary"]), jnp.ones(2, bool))
