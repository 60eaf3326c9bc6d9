"""What every aggregator must do, whatever its formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.experimental import aggregating

from mtljax import aggregation, weighting

T = 4
LOSSES = np.array([0.5, 2.0, 7.0, 1.5], np.float32)
CASES = {
    "db_mtl": aggregation.db_mtl,
    "excess_mtl": aggregation.excess_mtl,
    "graddrop": aggregation.graddrop,
    "moco": aggregation.moco,
    "trimmed_mean": lambda n: aggregation.trimmed_mean(n, trim=(n - 1) // 2),
    "from_weighting": lambda n: aggregation.from_weighting(weighting.uncertainty(), n),
    "per_group": lambda n: aggregation.per_group(weighting.uncertainty(), n, lambda p: p),
}
every_method = pytest.mark.parametrize("name", CASES)


@functools.cache
def compiled(name, tasks=T):
    """The method and its jitted update: one compilation for all tests of a shape."""
    method = CASES[name](tasks)
    return method, jax.jit(method.update)


def run(name, steps, params, state=None, mask=None):
    tasks = len(steps[0][1])
    method, update = compiled(name, tasks)
    state = method.init(params) if state is None else state
    mask = np.ones(tasks, bool) if mask is None else mask
    directions = []
    for task_grads, losses in steps:
        direction, state = update(task_grads, state, losses=losses, mask=mask)
        directions.append(direction)
    return directions, state


def assert_close(a, b, rtol=2e-5, atol=1e-6):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


@pytest.fixture
def steps(rng, tree):
    return [(tree(rng.normal(size=(T, 10)), jnp.float32), LOSSES * (1 + i)) for i in range(3)]


def test_every_method_is_here():
    """Forum reads more than losses and gradients, so it has tests of its own."""
    assert aggregation.METHODS.keys() - {"forum"} <= CASES.keys()


@every_method
def test_is_an_optax_aggregator_with_a_state_of_arrays(name, steps, params):
    method, _ = compiled(name)
    assert isinstance(method, aggregating.Aggregator)
    state = method.init(params)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    (direction, *_), new = run(name, steps, params)
    assert jax.tree.map(jnp.shape, direction) == jax.tree.map(jnp.shape, params)
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
    assert jax.tree.map(jnp.result_type, new) == jax.tree.map(jnp.result_type, state)
    # A weak type that the first step makes strong would have the second compile anew.
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((state, new)))


@every_method
def test_a_state_saved_as_numpy_resumes_exactly(name, steps, params):
    straight, end = run(name, steps, params)
    _, half = run(name, steps[:2], params)
    saved = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), half)
    resumed, resumed_end = run(name, steps[2:], params, saved)
    jax.tree.map(np.testing.assert_array_equal, (straight[2], end), (resumed[0], resumed_end))


@every_method
def test_low_precision_leaves_keep_their_dtype(name, tree, rng, params):
    rows = rng.integers(-8, 9, size=(T, 10)).astype(float)
    narrow = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    (low,), state = run(name, [(tree(rows, jnp.bfloat16), LOSSES)], narrow)
    (high,), _ = run(name, [(tree(rows, jnp.float32), LOSSES)], params)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(low))
    assert all(leaf.dtype != jnp.bfloat16 for leaf in jax.tree.leaves(state))
    # Only the last rounding is that of bfloat16.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a.astype(jnp.float32), b, rtol=2**-8), low, high
    )


# A weighting has an answer of its own to a number that is not finite: its state stays.
LEFT_OUT = [
    (name, absent)
    for name in CASES
    for absent in (True, False)
    if absent or name not in ("from_weighting", "per_group")
]


def spoiled(leaf):
    """With the numbers of the second task not finite."""
    leaf = leaf.copy()
    leaf[1] = np.nan
    return leaf


@pytest.mark.parametrize(("name", "absent"), LEFT_OUT)
def test_left_out_tasks_are_as_if_they_were_not_there(name, absent, steps, params):
    poisoned = [(jax.tree.map(spoiled, task_grads), losses) for task_grads, losses in steps]
    mask = np.arange(T) != 1 if absent else None
    directions, state = run(name, poisoned, params, mask=mask)
    here = np.array([0, 2, 3])
    alone = [(jax.tree.map(lambda g: g[here], g), losses[here]) for g, losses in steps]
    expected, _ = run(name, alone, params)
    assert_close(directions, expected)
    if name != "per_group":
        start = compiled(name)[0].init(params)
        for leaf, first in zip(jax.tree.leaves(state), jax.tree.leaves(start), strict=True):
            if leaf.shape[:1] == (T,):
                np.testing.assert_array_equal(leaf[1], first[1])


@every_method
def test_no_task_left(name, steps, params):
    _, state = run(name, steps, params)
    (direction,), new = run(name, steps[:1], params, state, mask=np.zeros(T, bool))
    jax.tree.map(lambda d: np.testing.assert_array_equal(d, 0), direction)
    jax.tree.map(np.testing.assert_array_equal, new, state)


@every_method
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-15, 1e15, 1e30])
def test_any_finite_gradients_have_an_answer(name, steps, params, size):
    scaled = [(jax.tree.map(lambda g: g * size, g), losses) for g, losses in steps]
    directions, state = run(name, scaled, params)
    for leaf in jax.tree.leaves((directions, state)):
        assert np.isfinite(leaf).all()
    if size == 0:
        jax.tree.map(lambda d: np.testing.assert_array_equal(d, 0), directions)


@every_method
def test_one_task_goes_along_its_gradient(name, steps, params, flat):
    task_grads = jax.tree.map(lambda g: g[:1], steps[0][0])
    method, update = compiled(name, 1)
    direction, _ = update(task_grads, method.init(params), losses=LOSSES[:1])
    a, b = flat(direction), flat(task_grads)
    assert a @ b > (1 - 1e-6) * np.linalg.norm(a) * np.linalg.norm(b) > 0


@pytest.mark.parametrize("name", ["graddrop", "excess_mtl", "per_group"])
def test_chains(name, steps, params):
    optimizer = optax.chain(compiled(name)[0], optax.sgd(0.5))
    task_grads, losses = steps[0]
    updates, _ = jax.jit(optimizer.update)(
        task_grads, optimizer.init(params), params, losses=losses, value=np.float32(1)
    )
    (direction,), _ = run(name, steps[:1], params)
    assert_close(updates, jax.tree.map(lambda d: -0.5 * d, direction))


@every_method
def test_wrong_arguments_are_named(name, steps, params):
    method, _ = compiled(name)
    state = method.init(params)
    task_grads, losses = steps[0]
    with pytest.raises(ValueError, match="2 tasks"):
        method.update(jax.tree.map(lambda g: g[:2], task_grads), state, losses=losses)
    with pytest.raises(ValueError, match="losses"):
        method.update(task_grads, state, losses=losses[:2])
    with pytest.raises(ValueError, match="mask"):
        method.update(task_grads, state, losses=losses, mask=jnp.ones(2, bool))
    with pytest.raises(TypeError, match="mask"):
        method.update(task_grads, state, losses=losses, mask=jnp.ones(T))
    with pytest.raises(ValueError, match="num_tasks"):
        CASES[name](0)


def test_sharded_leaves_give_the_same_answer(on_eight_devices):
    printed = on_eight_devices("""
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from mtljax import aggregation

mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
rng = np.random.default_rng(0)
T = 4
params = {"kernel": jnp.ones((16, 3))}
def grads():
    draw = lambda p: jnp.asarray(rng.normal(size=(T, *p.shape)), jnp.float32)
    return jax.tree.map(draw, params)
steps = [grads() for _ in range(2)]
losses = jnp.array([0.5, 2.0, 7.0, 1.5])
def place(tree, spec):
    return jax.device_put(tree, NamedSharding(mesh, spec))
def run(method, params, steps):
    state, update, directions = method.init(params), jax.jit(method.update), []
    for task_grads in steps:
        direction, state = update(task_grads, state, losses=losses)
        directions.append(direction)
    return directions, state
makers = aggregation.METHODS.items()
methods = {name: make(T) for name, make in makers if name != "forum"}  # it has no leaf-wise state
for name, method in methods.items():
    plain, _ = run(method, params, steps)
    rows = PartitionSpec(None, "data")
    sharded, state = run(
        method, place(params, PartitionSpec("data")), [place(g, rows) for g in steps]
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
                 sharded, plain)
    assert not sharded[0]["kernel"].sharding.is_fully_replicated, name
    for field in ("tracked", "root"):
        if hasattr(state, field):
            assert not getattr(state, field)["kernel"].sharding.is_fully_replicated, name
            start = getattr(method.init(place(params, PartitionSpec("data"))), field)
            assert not start["kernel"].sharding.is_fully_replicated, name
print(len(jax.devices()), "same")
""")
    assert printed == "8 same\n"
