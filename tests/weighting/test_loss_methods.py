"""What the methods on losses have in common: compiled, batched, resumed, with tasks missing."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.coba import coba
from mtljax.weighting.cosmos import cosmos
from mtljax.weighting.dwa import dwa
from mtljax.weighting.famo import famo
from mtljax.weighting.geometric import geometric
from mtljax.weighting.go4align import go4align
from mtljax.weighting.imtl_l import imtl_l
from mtljax.weighting.ldc_mtl import ldc_mtl
from mtljax.weighting.pbi import pbi
from mtljax.weighting.stch import stch
from mtljax.weighting.uw_so import uw_so
from tests.weighting.steps import assert_trees_equal, steps

S, T, N = 6, 4, 20
METHODS = {
    "coba": coba(window=3, warmup=2),
    "cosmos": cosmos(),
    "dwa": dwa(period=2),
    "famo": famo(),
    "famo-next": famo(post="next"),
    "geometric": geometric(),
    "go4align": go4align(),
    "imtl_l": imtl_l(),
    "ldc_mtl": ldc_mtl(relative=True),
    "ldc_mtl-all": ldc_mtl(pairs="all"),
    "pbi": pbi(),
    "stch": stch(warmup_steps=2),
    "stch-raw": stch(form="raw"),
    "uw_so": uw_so(),
}
every_method = pytest.mark.parametrize("name", METHODS)


@cache
def compiled(name):
    """S steps in a row of N problems, which is all that is compiled here."""
    method = METHODS[name]

    def step(state, row):
        losses, mask, other = row
        signals = {signal: other for signal in method.requires - {"losses"}}
        weights, state = method.update(losses, state, mask=mask, **signals)
        return state, (weights, state)

    return jax.jit(jax.vmap(lambda state, rows: jax.lax.scan(step, state, rows)[1]))


def run(name, problems, state=None):
    """Weights ``[N, S, T]`` and states of S steps of at most N ``(losses, mask, signal)``."""
    problems = [*problems, *[problems[0]] * (N - len(problems))]
    rows = tuple(jnp.stack([jnp.asarray(problem[i]) for problem in problems]) for i in range(3))
    state = METHODS[name].init(T) if state is None else state
    return jax.tree.map(
        np.asarray,
        compiled(name)(jax.tree.map(lambda leaf: jnp.stack([leaf] * N), state), rows),
    )


def at(states, problem, step):
    return jax.tree.map(lambda leaf: leaf[problem, step], states)


@pytest.fixture
def problem(rng):
    signal = rng.uniform(0.1, 5, (S, T)).astype(np.float32)
    return rng.uniform(0.1, 5, (S, T)).astype(np.float32), np.ones((S, T), bool), signal


@every_method
def test_a_saved_state_resumes(name, problem):
    half = tuple(np.concatenate([part[3:], part[:3]]) for part in problem)
    weights, states = run(name, [problem])
    np.testing.assert_array_equal(weights[0], weights[1])
    resumed, _ = run(name, [half], at(states, 0, 2))
    np.testing.assert_array_equal(resumed[0, :3], weights[0, 3:])
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), METHODS[name].init(T))
    assert shapes == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), at(states, 0, 0))


@pytest.mark.parametrize("name", ["dwa", "famo", "stch"])  # others in doctests
def test_eager_equals_compiled(name, problem):
    weights, _ = run(name, [problem])
    method = METHODS[name]
    state = method.init(T)
    for row, (losses, _, other) in enumerate(zip(*problem, strict=True)):
        signals = {signal: jnp.asarray(other) for signal in method.requires - {"losses"}}
        found, state = method.update(jnp.asarray(losses), state, **signals)
        np.testing.assert_allclose(found, weights[0, row], rtol=1e-5, atol=1e-6)


@every_method
def test_an_absent_task_is_as_if_it_did_not_exist(name, problem):
    """Whatever its numbers are: the others, and all states, are the same."""
    losses, mask, signal = (part.copy() for part in problem)
    mask[:, 1] = False
    other_losses, other_signal = losses.copy(), signal.copy()
    other_losses[:, 1], other_signal[:, 1] = np.nan, np.inf
    weights, states = run(name, [(losses, mask, signal), (other_losses, mask, other_signal)])
    assert (weights[:, :, 1] == 0).all() and np.isfinite(weights).all()
    np.testing.assert_array_equal(weights[0], weights[1])
    assert_trees_equal(at(states, 0, S - 1), at(states, 1, S - 1))
    if name in ("cosmos", "geometric", "imtl_l", "pbi", "stch", "stch-raw"):
        # The others show it in their own tests.
        here = [0, 2, 3]
        alone, _ = steps(METHODS[name], losses[:, here], dtype="float32")
        np.testing.assert_allclose(weights[0][:, here], alone, rtol=1e-5, atol=1e-6)


@every_method
def test_nobody_is_present_or_a_number_is_not_finite(name, problem):
    losses, mask, signal = problem
    nobody, bad, spoiled = mask.copy(), losses.copy(), signal.copy()
    nobody[2] = False
    bad[2, 3] = np.nan
    spoiled[2, 3] = -np.inf
    problems = [(losses, nobody, signal), (bad, mask, signal), (losses, mask, spoiled)]
    weights, states = run(name, problems)
    assert (weights[0, 2] == 0).all() and np.isfinite(weights).all()
    for index in range(3 if len(METHODS[name].requires) > 1 else 2):
        assert_trees_equal(at(states, index, 2), at(states, index, 1))
        assert weights[index, 2, 3] == 0
        if index:
            assert (weights[index, 2, :3] > 0).all()


@every_method
def test_every_finite_input_has_a_finite_answer(name, rng):
    sizes = np.array([-3e38, -1e30, -1.0, 0.0, 1e-40, 1e-30, 1.0, 1e9, 1e30, 3e38])
    mask = np.ones((S, T), bool)
    problems = [(np.full((S, T), size), mask, np.full((S, T), size)) for size in sizes]
    problems += [
        (rng.choice(sizes, (S, T)), rng.random((S, T)) < 0.8, rng.choice(sizes, (S, T)))
        for _ in range(N - len(sizes))
    ]
    weights, states = run(name, problems)
    assert np.isfinite(weights).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states))
    # Equal losses: equal weights above 0.
    first = weights[: len(sizes), 0]
    if name != "ldc_mtl":  # relative to losses whose inverse is not a normal number
        assert (first > 0).all()
        np.testing.assert_allclose(first, first[:, :1].repeat(T, axis=1), rtol=1e-5)


@every_method
def test_one_task_of_several(name, problem):
    losses, mask, signal = problem
    weights, _ = run(name, [(losses, mask & (np.arange(T) == 2), signal)])
    assert (weights[0, :, 2] > 0).all() and (weights[0, :, [0, 1, 3]] == 0).all()
