"""What every method must do, whatever its formula: on those that have no state to speak of."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import aggregation, weighting

T = 3
CASES = {
    "equal-mean": lambda n: weighting.equal(),
    "equal-sum": lambda n: weighting.equal(scale="sum"),
    "fixed": lambda n: weighting.fixed(np.arange(1.0, n + 1)),
    "random-mean": lambda n: weighting.random(seed=1),
    "random-sum": lambda n: weighting.random(seed=1, scale="sum"),
    "uncertainty-classification": lambda n: weighting.uncertainty(),
    "uncertainty-regression": lambda n: weighting.uncertainty("regression"),
}
CASES = {name: cache(make) for name, make in CASES.items()}
every_method = pytest.mark.parametrize("make", CASES.values(), ids=CASES.keys())
LOSSES = np.array([0.5, 2.0, 7.0], np.float32)


@cache
def compiled(method):
    return jax.jit(lambda losses, state, mask: method.update(losses, state, mask=mask))


def run(method, rows, state=None, mask=None):
    """Compiled, which `test_jit_and_scan_equal_eager` compares with the method itself."""
    state = method.init(len(rows[0])) if state is None else state
    mask = np.ones(len(rows[0]), bool) if mask is None else mask
    weights = []
    for losses in rows:
        w, state = compiled(method)(np.asarray(losses, np.float32), state, mask)
        weights.append(w)
    return np.stack(weights), state


def assert_trees_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_every_method_has_tests():
    here = {name.split("-")[0] for name in CASES}
    folder = Path(__file__).parent.parent
    files = {path.stem.removeprefix("test_") for path in folder.glob("test_*.py")}
    for name, factory in weighting.METHODS.items():
        assert name in here or factory.__module__.split(".")[-1] in files


@pytest.mark.parametrize("name", weighting.METHODS | aggregation.METHODS)
def test_every_method_says_when_to_use_it(name):
    """In its docstring, next to its degenerate cases, and in the documentation."""
    page = (Path(__file__).parents[3] / "docs" / "weighting.md").read_text(encoding="utf-8")
    for methods in (weighting.METHODS, aggregation.METHODS):
        for section in ("When to use: ", "| input | ", "Returns:", "Signals: "):
            assert name not in methods or section in methods[name].__doc__, section
    assert f"\n| `{name}`" in page


@every_method
@pytest.mark.parametrize("num_tasks", [1, 2, 5])
def test_shapes_and_dtypes(make, num_tasks):
    method = make(num_tasks)
    state = method.init(num_tasks)
    assert method.requires <= weighting.SIGNALS.keys()
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    weights, new = jax.eval_shape(method.update, np.ones(num_tasks, np.float32), state)
    assert weights.shape == (num_tasks,) and weights.dtype == jnp.float32
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
    assert jax.tree.map(jnp.result_type, new) == jax.tree.map(jnp.result_type, state)
    if num_tasks == 1:
        assert run(method, np.ones((1, 1)))[0] > 0


@every_method
def test_jit_and_scan_equal_eager(make):
    method = make(T)
    rows = np.stack([LOSSES, LOSSES / 2, LOSSES * 3])
    state, weights = method.init(T), []
    for losses in rows:
        w, state = method.update(losses, state)
        weights.append(w)
    final, scanned = jax.jit(
        lambda s: jax.lax.scan(lambda s, row: method.update(row, s)[::-1], s, rows)
    )(method.init(T))
    np.testing.assert_allclose(scanned, weights, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(final), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@every_method
def test_vmap_over_problems(make):
    method = make(T)
    rows = np.stack([LOSSES, LOSSES * 9])
    states = jax.tree.map(lambda leaf: np.stack([leaf] * 2), method.init(T))
    weights, _ = jax.jit(jax.vmap(method.update))(rows, states)
    for row, w in zip(rows, weights, strict=True):
        np.testing.assert_allclose(w, run(method, [row])[0][0], rtol=1e-6)


@every_method
def test_float64(make):
    with jax.enable_x64(True):
        method = make(T)
        wide, short = (jax.ShapeDtypeStruct((T,), d) for d in (jnp.float64, jnp.bfloat16))
        weights, state = jax.eval_shape(method.update, wide, method.init(T))
        assert weights.dtype == jnp.float64
        narrow, _ = jax.eval_shape(method.update, short, state)
        assert narrow.dtype == jnp.float32


@every_method
def test_a_state_saved_as_numpy_resumes_exactly(make):
    method = make(T)
    rows = [LOSSES, LOSSES / 3, LOSSES * 2, LOSSES]
    straight, end = run(method, rows)
    _, half = run(method, rows[:2])
    saved = jax.tree.map(np.asarray, half)
    resumed, resumed_end = run(method, rows[2:], jax.tree.map(jnp.asarray, saved))
    np.testing.assert_array_equal(straight[2:], resumed)
    assert_trees_equal(end, resumed_end)


@every_method
@pytest.mark.parametrize("scale", [0.0, 1e-9, 1.0, 1e9, 1e30, -1e9])
def test_any_finite_losses_have_an_answer(make, scale):
    weights, state = run(make(T), [scale * LOSSES] * 5)
    assert np.isfinite(weights).all() and (weights > 0).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


@every_method
@pytest.mark.parametrize("loss", [2.0, np.nan])
def test_an_absent_task_has_weight_zero_and_keeps_its_state(make, loss):
    """Whatever its loss is; afterwards it goes on as if the step had not been."""
    method = make(T)
    mask = np.array([True, False, True])
    weights, state = run(method, [np.where(mask, LOSSES, loss)] * 3, mask=mask)
    np.testing.assert_array_equal(weights[:, 1], 0)
    assert (weights[:, [0, 2]] > 0).all()
    fresh = method.init(T)
    if hasattr(state, "_fields") and "adam" in state._fields:
        assert_trees_equal(*(jax.tree.map(lambda leaf: leaf[1], s) for s in (state, fresh)))


@every_method
def test_masking_equals_the_method_on_the_remaining_tasks(make):
    mask = np.array([True, True, False])
    masked, _ = run(make(T), [LOSSES, LOSSES / 2], mask=mask)
    alone, _ = run(make(2), [LOSSES[:2], LOSSES[:2] / 2])
    if make in (CASES["random-mean"], CASES["random-sum"]):  # equal in distribution only
        np.testing.assert_allclose(masked.sum(1), alone.sum(1), rtol=1e-6)
    else:
        np.testing.assert_allclose(masked[:, :2], alone, rtol=1e-6)


@every_method
def test_all_tasks_absent(make):
    method = make(T)
    state = method.init(T)
    weights, new = compiled(method)(LOSSES, state, np.zeros(T, bool))
    np.testing.assert_array_equal(weights, 0)
    assert_trees_equal(new, state)


@every_method
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_stops_the_state(make, poison):
    method = make(T)
    _, state = run(method, [LOSSES])
    (weights,), new = run(method, [[*LOSSES[:2], poison]], state)
    assert weights[2] == 0 and np.isfinite(weights).all() and (weights[:2] > 0).all()
    assert_trees_equal(new, state)
    (everything,), _ = run(method, [[poison] * T], state)
    np.testing.assert_array_equal(everything, 0)


@every_method
def test_weights_are_constants_to_differentiation(make):
    method = make(T)
    state = method.init(T)

    def objective(losses):
        weights, _ = method.update(losses, state)
        return weights @ losses

    slope = jax.jit(jax.grad(objective))(LOSSES)
    np.testing.assert_allclose(slope, run(method, [LOSSES])[0][0], rtol=1e-6)


@every_method
def test_a_signal_that_is_not_required_does_not_matter(make):
    method = make(T)
    state = method.init(T)
    noise = np.full((T, T), np.nan)
    with_noise = jax.jit(lambda losses, state: method.update(losses, state, gramian=noise)[0])
    np.testing.assert_array_equal(with_noise(LOSSES, state), run(method, [LOSSES])[0][0])


@every_method
@pytest.mark.parametrize(
    ("losses", "kwargs", "error", "names"),
    [
        (jnp.ones(()), {}, ValueError, "losses"),
        (jnp.ones((T, 1)), {}, ValueError, "losses"),
        (jnp.ones(0), {}, ValueError, "losses"),
        (jnp.ones(T, complex), {}, TypeError, "losses"),
        (jnp.ones(T), {"mask": jnp.ones(T)}, TypeError, "mask"),
        (jnp.ones(T), {"mask": jnp.ones(2, bool)}, ValueError, "mask"),
        (jnp.ones(T), {"gramain": jnp.ones(T)}, TypeError, "gramain"),
    ],
)
def test_wrong_arguments_are_named(make, losses, kwargs, error, names):
    method = make(T)
    with pytest.raises(error, match=names):
        method.update(losses, method.init(T), **kwargs)


@every_method
@pytest.mark.parametrize("num_tasks", [0, -1])
def test_a_wrong_number_of_tasks_is_named(make, num_tasks):
    with pytest.raises(ValueError, match="num_tasks"):
        make(T).init(num_tasks)
