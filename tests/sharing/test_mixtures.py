"""Experts, gates and selectors against loops in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.sharing import (
    experts,
    gated_experts,
    mixture,
    select,
    selector,
    selector_entropy,
    smooth_step,
    softmax_gate,
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mixture_of_experts(dtype):
    rng = np.random.default_rng(0)
    shapes = (2, 3, 4), (5, 4, 6), (5, 6), (5, 6, 4), (5, 4), (4, 5), (5,)
    x, down, down_bias, up, up_bias, kernel, bias = (
        rng.normal(size=shape).astype(dtype) for shape in shapes
    )

    def run(*args):
        outputs = experts(*args[:5])
        shares, gated = softmax_gate(args[0], *args[5:]), gated_experts(*args)
        return outputs, shares, mixture(outputs, shares), mixture(outputs, args[-1]), gated

    with jax.enable_x64(dtype == np.float64):
        args = (x, down, down_bias, up, up_bias, kernel, bias)
        found = [jax.jit(run)(*args)]
        if dtype == np.float32:
            found.append(run(*args))
        for outputs, shares, mixed, static, inside in found:
            assert mixed.dtype == inside.dtype == dtype
            rtol = 1e-4 if dtype == np.float32 else 1e-12
            for i, j in itertools.product(range(2), range(3)):
                one = x[i, j]
                logits = one @ kernel + bias
                gate = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
                by_hand = [
                    np.maximum(one @ down[e] + down_bias[e], 0) @ up[e] + up_bias[e]
                    for e in range(5)
                ]
                np.testing.assert_allclose(outputs[i, j], by_hand, rtol, rtol)
                np.testing.assert_allclose(shares[i, j], gate, rtol, rtol)
                np.testing.assert_allclose(mixed[i, j], gate @ by_hand, rtol, rtol)
                np.testing.assert_allclose(inside[i, j], gate @ by_hand, rtol, 10 * rtol)
                np.testing.assert_allclose(static[i, j], bias @ by_hand, rtol, rtol)


def test_selectors_are_products_of_bits():
    rng = np.random.default_rng(1)
    z, logits = rng.uniform(-0.7, 0.7, (2, 3)), rng.normal(size=2)

    def step(t, width):
        if t <= -width / 2:
            return 0.0
        if t >= width / 2:
            return 1.0
        return -2 / width**3 * t**3 + 3 / (2 * width) * t + 0.5

    @jax.jit
    def compiled(logits, z, width):
        return selector(z, width), select(logits, z, width), selector_entropy(z, width)

    for width in (1.0, 1.3):
        expected = np.ones((2, 8))
        for i, expert, bit in itertools.product(range(2), range(8), range(3)):
            on = step(z[i, bit], width)
            expected[i, expert] *= on if expert >> bit & 1 else 1 - on
        of_bits, selected, found = compiled(logits, z, width)
        np.testing.assert_allclose(of_bits, expected, 1e-5, 1e-6)
        shares = np.exp(logits) / np.exp(logits).sum() @ expected
        np.testing.assert_allclose(selected, shares, 1e-5, 1e-6)
        positive = expected[expected > 0]
        entropy = -np.sum(positive * np.log(positive))
        np.testing.assert_allclose(found, entropy, 1e-4)
    chosen, _, none = jax.jit(lambda z: compiled(jnp.zeros(2), z, 1.0))(
        np.float32([[2.0, -2.0], [-0.5, 0.5]])
    )
    np.testing.assert_array_equal(chosen, [[0, 1, 0, 0], [0, 0, 1, 0]])
    assert none == 0


def test_slopes_of_the_step_and_of_the_entropy():
    slopes = jax.jit(jax.vmap(jax.grad(smooth_step)))(np.float32([-1, -0.5, 0, 0.5, 1]))
    np.testing.assert_allclose(slopes, [0, 0, 1.5, 0, 0], atol=1e-6)
    z = np.float32([[0.05, -0.02], [-0.1, 0.3]])
    slope = jax.jit(jax.grad(selector_entropy))
    gradient = slope(z)
    assert np.all(np.sign(gradient) == -np.sign(z))  # down: away from the middle
    for at in (2, 0.5):
        assert np.all(np.isfinite(slope(np.full((2, 2), at, np.float32))))
    for _ in range(200):
        z = z - np.float32(0.05) * np.asarray(slope(z))
    np.testing.assert_allclose(np.max(jax.jit(selector)(z), -1), 1, atol=1e-3)
