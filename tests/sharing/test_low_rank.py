"""Low-rank updates and bottlenecks against loops in NumPy."""

import jax
import numpy as np
import pytest

from mtljax.sharing import bottleneck, film, film_parameters, low_rank, merged, of_task


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_low_rank_of_several_layers(dtype):
    rng = np.random.default_rng(0)
    x, a, b = (rng.normal(size=s).astype(dtype) for s in ((5, 6), (6, 2), (2, 12)))
    kernel = rng.normal(size=(2, 3, 3, 4)).astype(dtype)  # two axes in, two out
    with jax.enable_x64(dtype == np.float64):
        for run in (lambda f, *args: f(*args), lambda f, *args: jax.jit(f)(*args)):
            added, whole = run(low_rank, x, a, b), run(merged, kernel, a, b)
            assert added.dtype == whole.dtype == dtype
            rtol = 1e-5 if dtype == np.float32 else 1e-12
            np.testing.assert_allclose(added, np.einsum("nd,dr,re->ne", x, a, b), rtol, rtol)
            by_hand = x @ kernel.reshape(6, 12) + x @ a @ b
            np.testing.assert_allclose(x @ whole.reshape(6, 12), by_hand, rtol, 10 * rtol)


def test_of_task_is_the_mixture_of_the_ups():
    rng = np.random.default_rng(1)
    shapes = (2, 6, 3), (4, 2, 3, 5), (2, 3, 3), (2, 4)
    a, b, core, mix = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    found = [np.asarray(part) for part in jax.jit(of_task)(a, b, core, mix)]
    for layer in range(2):
        shares = np.exp(mix[layer]) / np.exp(mix[layer]).sum()
        expected = sum(
            shares[i] * a[layer] @ core[layer] @ b[i, layer] for i in range(4)
        )  # x A C B_i, mixed
        np.testing.assert_allclose(found[0][layer] @ found[1][layer], expected, 1e-4, 1e-5)


def test_bottleneck():
    rng = np.random.default_rng(2)
    shapes = (2, 3, 4), (4, 2), (2,), (2, 4), (4,)
    x, down, down_bias, up, up_bias = (rng.normal(size=s).astype(np.float32) for s in shapes)
    compiled = jax.jit(bottleneck)
    found = np.asarray(compiled(x, down, down_bias, up, up_bias))
    for row in range(2):
        for position in range(3):
            inside = np.maximum(x[row, position] @ down + down_bias, 0)
            expected = x[row, position] + inside @ up + up_bias
            np.testing.assert_allclose(found[row, position], expected, 1e-5, 1e-6)
    same = compiled(x, down, down_bias, 0 * up, 0 * up_bias)
    np.testing.assert_array_equal(same, x)


def test_film_of_stacked_layers():
    rng = np.random.default_rng(3)
    shapes = (5, 4), (3,), (2, 3, 2, 4)
    x, embedding, kernel = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    scale, shift = map(np.asarray, jax.jit(film_parameters)(embedding, kernel))
    for layer in range(2):
        by_hand = np.tensordot(embedding, kernel[layer], 1)
        found = film(x, scale[layer], shift[layer])
        np.testing.assert_allclose(found, x * (1 + by_hand[0]) + by_hand[1], 1e-5, 1e-5)
