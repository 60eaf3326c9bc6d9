"""What methods on gradients promise, on random Jacobians of any scale.

The measure of conflict is relative to what was summed: near a stationary point the direction is
rounding noise, and its cosine with a gradient means nothing.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax import weighting

T, P, N = 4, 9, 8
EPS = float(np.finfo(np.float32).eps)
SIGNALS_OF_GRADIENTS = {"gramian", "gramian_diagonal"}
METHODS = sorted(
    name
    for name, factory in weighting.METHODS.items()
    if name != "fixed" and factory().requires & SIGNALS_OF_GRADIENTS
)
ALL_METHODS = sorted(weighting.METHODS.keys() - {"fixed"})
NON_CONFLICTING = ("dual_proj", "fairgrad", "imtl_g", "mgda", "nash_mtl", "upgrad")
# Some draw an order, pcd has a primary task, krum breaks ties by it, and with four tasks the two
# nearest ones always tie. The losses that db_mtl and gradnorm read would have to move along.
EQUIVARIANT = sorted({*METHODS} - {"gradvac", "pcd", "pcgrad"} - {"krum"} - {"db_mtl", "gradnorm"})
HOMOGENEOUS = (
    "aligned_mtl",
    "cagrad",
    "config",
    "conic_grad",
    "dual_proj",
    "imtl_g",
    "krum",
    "mgda",
    "upgrad",
)
LINEAR = ("config", "upgrad")
STATIONARY = ("dual_proj", "imtl_g", "mgda", "upgrad")


def every_signal(losses, gramian):
    """All the signals there are, of some gradients."""
    return {
        "gramian": gramian,
        "gramian_diagonal": jnp.diagonal(gramian),
        "losses_after": 0.9 * losses,
        "validation_losses": losses,
        "validation_gradients": gramian,
        "cross_gramian": gramian,
    }


def update_of(name):
    """From a problem to its first weights ``[T]`` and the new state."""
    method = weighting.METHODS[name]()

    def update(problem):
        losses, gramian, scale, mask = problem
        known = every_signal(losses, gramian)
        signals = {signal: known[signal] for signal in method.requires - {"losses"}}
        if name in METHODS:
            signals["row_scale"] = scale
        return method.update(losses, method.init(T), mask=mask, **signals)

    return update


@cache
def compiled(name):
    """First weights ``[N, T]`` of N problems at once, and the new states."""
    return jax.jit(jax.vmap(update_of(name)))


def problems_of(rows, scale=None, mask=None):
    """Losses, Gramians of rows ``[N, T, P]``, scales of the rows and tasks that are present."""
    rows = np.asarray(rows, np.float32)
    gramians = np.einsum("ntp,nup->ntu", rows, rows)
    losses = np.broadcast_to(np.arange(1.0, T + 1, dtype=np.float32), (N, T))
    scale = np.ones((N, T), np.float32) if scale is None else np.asarray(scale, np.float32)
    mask = np.ones((N, T), bool) if mask is None else np.broadcast_to(mask, (N, T))
    return losses, gramians, scale, mask


def weigh(name, rows, scale=None, mask=None):
    """Weights for rows ``[N, T, P]``, each to be multiplied by a scale ``[N, T]``."""
    problems = problems_of(rows, scale, mask)
    found, mask = np.asarray(compiled(name)(problems)[0], float), problems[-1]
    assert np.isfinite(found).all() and (found[~mask] == 0).all()
    return found


def direct(weights, rows):
    return np.einsum("nt,ntp->np", weights, np.asarray(rows, float))


def summed(weights, rows):
    """Lengths of what was summed, ``[N]``."""
    return (np.abs(weights) * np.linalg.norm(rows, axis=-1)).sum(1)


@st.composite
def jacobians(draw, decades=6.0):
    """N Jacobians with common conflicts and lengths over some decades."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.normal(size=(N, T, P))
    rows -= draw(st.floats(0, 0.95)) * rows.mean(1, keepdims=True)
    spread = draw(st.floats(0, decades / 2))
    return rows * 10 ** rng.uniform(-spread, spread, (N, T, 1))


few = settings(max_examples=8, deadline=None)


@pytest.mark.parametrize("name", NON_CONFLICTING)
@few
@given(rows=jacobians())
def test_conflicts_with_no_task(name, rows):
    weights = weigh(name, rows)
    units = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    least = np.einsum("ntp,np->nt", units, direct(weights, rows)).min(1)
    assert (least >= -1e-5 * summed(weights, rows)).all()


@pytest.mark.parametrize("name", EQUIVARIANT)
@few
@given(rows=jacobians(decades=2), order=st.permutations(range(T)))
def test_follows_a_permutation_of_the_tasks(name, rows, order):
    weights = weigh(name, rows)
    moved = weigh(name, rows[:, order])
    error = np.abs(moved - weights[:, order]).max(1)
    # Nearly dependent rows turn roundings of the Gramian into changes of the weights; so do unlike
    # lengths for aligned_mtl, which decomposes the Gramian rather than the cosines.
    lengths = 1 if name == "aligned_mtl" else np.linalg.norm(rows, axis=-1, keepdims=True)
    conditions = np.linalg.cond(rows / lengths) ** 2
    assert (error <= 50 * EPS * conditions * np.abs(weights).max(1)).all()


@pytest.mark.parametrize("name", HOMOGENEOUS)
@few
@given(rows=jacobians(decades=2), exponent=st.integers(-60, 60))
def test_scales_with_the_gradients(name, rows, exponent):
    """Exactly so for powers of two, far beyond what float32 can square."""
    factor = np.full((N, T), 2.0**exponent)
    np.testing.assert_array_equal(weigh(name, rows, factor), weigh(name, rows))


@few
@given(rows=jacobians(decades=2), exponents=st.lists(st.integers(-40, 40), min_size=T, max_size=T))
def test_nash_does_not_depend_on_the_scales_of_the_tasks(rows, exponents):
    factors = 2.0 ** np.broadcast_to(exponents, (N, T))
    np.testing.assert_allclose(
        weigh("nash_mtl", rows, factors) * factors, weigh("nash_mtl", rows), rtol=1e-5
    )


@pytest.mark.parametrize("name", LINEAR)
@few
@given(rows=jacobians(decades=2), seed=st.integers(0, 999))
def test_is_linear_in_the_scales_of_the_tasks(name, rows, seed):
    a, b = np.random.default_rng(seed).uniform(0.1, 10, (2, N, T, 1))
    parts = direct(weigh(name, rows * a), rows * a) + direct(weigh(name, rows * b), rows * b)
    whole_weights = weigh(name, rows * (a + b))
    error = np.linalg.norm(direct(whole_weights, rows * (a + b)) - parts, axis=-1)
    conditions = np.linalg.cond(rows / np.linalg.norm(rows, axis=-1, keepdims=True)) ** 2
    assert (error <= 50 * EPS * conditions * summed(whole_weights, rows * (a + b))).all()


@pytest.mark.parametrize("name", STATIONARY)
@few
@given(rows=jacobians(decades=2), seed=st.integers(0, 999))
def test_is_zero_where_a_positive_combination_is(name, rows, seed):
    shares = np.random.default_rng(seed).uniform(0.2, 1, (N, T - 1, 1))
    rows[:, -1] = -(shares * rows[:, :-1]).sum(1)
    weights = weigh(name, rows)
    # A float32 Gramian knows the length of a short direction up to eps^1/2 of its parts only.
    length = np.linalg.norm(direct(weights, rows), axis=-1)
    assert (length <= 30 * EPS**0.5 * summed(weights, rows)).all()


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("gradvac", "krum", "pcgrad")])
@few
@given(rows=jacobians(decades=2))
def test_an_absent_task_is_as_if_it_were_not_there(name, rows):
    """Its gradient, whatever it is, changes nothing."""
    mask = np.array([True, True, True, False])
    other = np.array(rows)
    other[:, -1] = 1e3
    np.testing.assert_array_equal(weigh(name, rows, mask=mask), weigh(name, other, mask=mask))


# One or two for each solver and for each loop of a method's own.
@pytest.mark.parametrize(
    "name",
    [
        "aligned_mtl",
        "cagrad",
        "coba",
        "fairgrad",
        "krum",
        "mgda",
        "modo",
        "pcd",
        "pcgrad",
        "upgrad",
    ],
)
def test_one_problem_alone_is_one_of_a_batch(name):
    """`vmap` turns conditions into selections, and loops into loops until all are done."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(N, T, P))
    rows[1] -= 1.2 * rows[1].mean(0)
    rows[2, 1] = 0
    _, *others = problems_of(rows)
    problems = (rng.uniform(0.5, 2, size=(N, T)).astype(np.float32), *others)
    found = compiled(name)(problems)
    alone = jax.jit(update_of(name))
    for index in range(N):
        jax.tree.map(
            lambda batch, one: np.testing.assert_allclose(batch, one, rtol=1e-4, atol=1e-5),
            jax.tree.map(lambda leaf, index=index: leaf[index], found),
            alone([array[index] for array in problems]),
        )


@pytest.mark.parametrize("name", ALL_METHODS)
def test_no_gradient_leaks(name):
    """And the state keeps its types, weak ones too: a loop of steps compiles one step."""
    method = weighting.METHODS[name]()
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(T, P)), jnp.float32)

    @jax.jit
    def slope(rows, losses):
        def total(rows, losses):
            known = every_signal(losses, rows @ rows.T)
            signals = {signal: known[signal] for signal in method.requires - {"losses"}}
            start = method.init(T)
            weights, state = method.update(losses, start, **signals)
            for before, after in zip(*map(jax.tree.leaves, (start, state)), strict=True):
                before, after = jax.typeof(before), jax.typeof(after)
                assert (before.shape, before.dtype) == (after.shape, after.dtype)
                assert before.weak_type == after.weak_type
            leaves = [leaf for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.float32]
            return jnp.sum(weights) + sum(map(jnp.sum, leaves))

        return jax.grad(total, argnums=(0, 1))(rows, losses)

    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), slope(rows, jnp.ones(T)))


@pytest.mark.parametrize("name", METHODS)
def test_the_wrong_shape_is_named(name):
    method = weighting.METHODS[name]()
    known = {"gramian": jnp.ones((T, T - 1)), "gramian_diagonal": jnp.ones(T - 1)}
    signals = {signal: known[signal] for signal in method.requires - {"losses"}}
    with pytest.raises(ValueError, match="gramian"):
        method.update(jnp.ones(T), method.init(T), **signals)
    with pytest.raises(ValueError, match="missing"):
        method.update(jnp.ones(T), method.init(T))
