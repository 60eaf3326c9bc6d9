"""Levels of experts against loops in NumPy."""

import jax
import numpy as np
import pytest

from mtljax.sharing import Level, extract, extraction

D, M, E, F, T = 4, 3, 2, 2, 3


def softmax(x):
    shares = np.exp(x - x.max())
    return shares / shares.sum()


def extracted(x, outputs, gate):
    kernel, bias = gate
    shares = softmax(x @ kernel + bias)
    return x + sum(share * output for share, output in zip(shares, outputs, strict=True))


def added(x, parts):
    """What each of several experts adds to one position."""
    down, down_bias, up, up_bias = parts
    return [
        np.maximum(x @ down[e] + down_bias[e], 0) @ up[e] + up_bias[e] for e in range(len(down))
    ]


def naive(x, levels, below, own, gates, last):
    """One position through all levels; returns what each task reads.

    `below`, `own` and `gates` are of each task: its gate in the level before the last, and its
    experts and gate there.
    """
    states = [x] * len(own)
    for i, level in enumerate(levels):
        shared = added(x, level.shared)
        mine = [added(state, [leaf[t] for leaf in level.own]) for t, state in enumerate(states)]
        of_level = below if i == len(levels) - 1 else list(zip(*level.gates, strict=True))
        states = [extracted(state, shared + mine[t], of_level[t]) for t, state in enumerate(states)]
        x = extracted(x, shared + sum(mine, []), level.gate)
    shared = added(x, last)
    return [
        extracted(state, shared + added(state, own[t]), gates[t]) for t, state in enumerate(states)
    ]


def level_of(draw, *, gates):
    def experts(*leading):
        shapes = (D, M), (M,), (M, D), (D,)
        return tuple(draw(*leading, *shape) for shape in shapes)

    of_tasks = (draw(T, D, E + F), draw(T, E + F)) if gates else None
    gate = draw(D, E + T * F), draw(E + T * F)
    return Level(experts(E), experts(T, F), gate, of_tasks)


@pytest.mark.parametrize(("dtype", "count"), [(np.float64, 2), (np.float32, 3)])
def test_levels(dtype, count):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(0, 0.6, shape).astype(dtype)

    levels = [level_of(draw, gates=i < count - 2) for i in range(count - 1)]
    x, last = draw(2, D), level_of(draw, gates=False)
    below = [(draw(D, E + F), draw(E + F)) for _ in range(T)]
    gates = [(draw(D, E + F), draw(E + F)) for _ in range(T)]
    own = [[leaf[t] for leaf in last.own] for t in range(T)]
    with jax.enable_x64(dtype == np.float64):
        found = jax.jit(extract)(x, levels)
    assert found.own.shape == (2, T, F, D) and found.own.dtype == dtype
    rtol = 1e-4 if dtype == np.float32 else 1e-12
    for i, one in enumerate(x):
        wanted = naive(one, levels, below, own, gates, last.shared)
        for t in range(T):
            state = np.asarray(found.states)[i, t if count > 2 else 0]
            outputs = [*np.asarray(found.shared)[i], *np.asarray(found.own)[i, t]]
            state = extracted(state, outputs, below[t])
            outputs = added(np.asarray(found.x)[i], last.shared) + added(state, own[t])
            np.testing.assert_allclose(extracted(state, outputs, gates[t]), wanted[t], rtol, rtol)


def test_a_gate_over_nothing_new_is_the_identity():
    x = np.ones((2, D), np.float32)
    gate = np.ones((D, E), np.float32), np.ones(E, np.float32)
    nothing = np.zeros((2, E, D), np.float32)
    np.testing.assert_array_equal(extraction(x, nothing, gate), x)
