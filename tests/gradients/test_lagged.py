"""Directions and Gramians of gradients that are not held together."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients

STRATEGIES = (
    [
        (name, strategy)
        for name in ("unequal_heads", "dropout")
        for strategy in ("auto", "unrolled", "vmapped", "scanned")
    ]
    + [
        (name, strategy)
        for name in ("unequal_shapes", "groups", "tied_group")
        for strategy in ("unrolled",)
    ]
    + [("mixed_sets", "auto")]
)


sketched = jax.jit(gradients.sketch, static_argnums=(1, 2))


def rows_of(shared):
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(shared)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def call(case, weights, strategy, **options):
    def run(shared, head_params, batch):
        return gradients.lagged_gradients(
            case.encode,
            case.heads,
            shared,
            head_params,
            batch,
            weights,
            key=case.key,
            strategy=strategy,
            **options,
        )

    return jax.jit(run)(*case[2:5])


@pytest.mark.parametrize(
    ("name", "strategy", "sketch"),
    [(*pair, None) for pair in STRATEGIES]
    + [(*pair, 101) for pair in STRATEGIES if pair[1] in ("unrolled", "scanned")]
    + [("mixed_sets", "auto", 101)],
)
def test_weights_known_beforehand(name, strategy, sketch, cases, expected, close):
    case = cases[name]()
    weights = np.linspace(-0.5, 2, len(case.heads), dtype=np.float32)
    found = call(case, weights, strategy, sketch=sketch, seed=5)
    losses, shared, head_grads = expected(case)
    close(found.losses, losses)
    close(found.heads, head_grads)
    direction = jax.tree.map(lambda leaf: np.tensordot(np.float64(weights), leaf, 1), shared)
    close(found.direction, direction)
    if sketch is None:
        assert found.sketches is None
        close(found.gramian, rows_of(shared) @ rows_of(shared).T)
    else:
        # The sketch itself has tests of its own.
        sketches: Any = np.asarray(sketched(shared, sketch, 5), np.float64)
        close(found.sketches, sketches)
        close(found.gramian, sketches @ sketches.T)


@pytest.mark.parametrize("sketch", [None, 101])
@pytest.mark.parametrize("strategy", ["unrolled", "scanned"])
def test_a_task_of_weight_zero_is_left_out(strategy, sketch, cases, expected, close):
    case = cases["unequal_heads"]()
    params = {**case.head_params, "a": jnp.full(4, jnp.nan)}
    found = call(case._replace(head_params=params), jnp.array([0, 1, 2]), strategy, sketch=sketch)
    _, shared, _ = expected(case)
    close(found.direction, jax.tree.map(lambda leaf: leaf[1] + 2 * leaf[2], shared))
    np.testing.assert_array_equal(np.isnan(np.diagonal(found.gramian)), [True, False, False])


@pytest.mark.parametrize("strategy", ["unrolled", "scanned"])
def test_bfloat16_is_summed_in_float32(strategy, cases):
    """The direction has the parameters' dtype and one rounding."""
    case = cases["unequal_heads"]()
    narrow = case._replace(shared=jax.tree.map(lambda x: x.astype(jnp.bfloat16), case.shared))
    weights = jnp.array([1.0, 1 / 256, 1 / 256])
    found = call(narrow, weights, strategy, sketch=101).direction

    @jax.jit
    def stacked(*arguments):
        return gradients.task_gradients(
            case.encode, case.heads, *arguments, strategy=strategy
        ).shared

    grads = stacked(*narrow[2:5])
    wanted = jax.tree.map(lambda x: jnp.tensordot(weights, x.astype(jnp.float32), 1), grads)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == jnp.bfloat16
        # Two compilations may round a gradient's last bit apart: two units of 2^-8, not T of them.
        np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=2**-7, atol=2**-8 * abs(b).max())


def test_float64(cases, expected, close):
    with jax.enable_x64(True):
        case = cases["unequal_heads"]()
        _, shared, _ = expected(case)
        for options in ({}, {"sketch": 101}):
            found = call(case, jnp.array([1.0, 2.0, 3.0]), "scanned", **options)
            assert found.gramian.dtype == jnp.float64
            wanted = jax.tree.map(lambda leaf: leaf[0] + 2 * leaf[1] + 3 * leaf[2], shared)
            close(found.direction, wanted, 1e-12)
