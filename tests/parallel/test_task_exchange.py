"""The exchange of gradients against the Gramian and the sum of the gradients side by side."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from mtljax.parallel import exchanged_bytes, split_dimensions, stacked_bytes
from mtljax.parallel.task_exchange import (
    FLAT,
    exchanged_specs,
    flatten_and_pad,
    stored_specs,
    unflatten,
    unflatten_leaves,
)

PARAMS = {"kernel": jnp.zeros((3, 16)), "bias": jnp.zeros(5), "scale": jnp.zeros(())}


def test_a_leaf_is_cut_where_it_divides():
    dims = split_dimensions(PARAMS, 8)
    assert dims == {"kernel": 1, "bias": FLAT, "scale": FLAT}
    assert exchanged_specs(dims, ("data", "task"), lead=1) == {
        "kernel": P(None, None, ("data", "task")),
        "bias": P(None, ("data", "task")),
        "scale": P(None, ("data", "task")),
    }
    assert exchanged_specs(dims, ("data",))["kernel"] == P(None, "data")
    assert exchanged_specs(dims, ())["kernel"] == P()
    # What is made flat in between is kept whole.
    kept = stored_specs(dims, ("data", "task"))
    assert kept == {"kernel": P(None, ("data", "task")), "bias": P(), "scale": P()}


@pytest.mark.parametrize("shape", [(), (1,), (5,), (8,), (3, 5), (2, 2, 2)])
def test_flat_and_back(shape):
    leaf = jnp.arange(2 * int(np.prod(shape)), dtype=jnp.float32).reshape(2, *shape)
    flat = flatten_and_pad(leaf, 8, lead=1)
    assert flat.ndim == 2 and flat.shape[1] % 8 == 0
    np.testing.assert_array_equal(unflatten(flat, shape, lead=1), leaf)
    np.testing.assert_array_equal(flat.sum(), leaf.sum())


def test_shapes_of_the_parameters_again():
    dims = split_dimensions(PARAMS, 8)
    rows = {"kernel": jnp.ones((2, 3, 16)), "bias": jnp.ones((2, 8)), "scale": jnp.ones((2, 8))}
    found = jax.tree.map(jnp.shape, unflatten_leaves(rows, dims, PARAMS, lead=1))
    assert found == {"kernel": (2, 3, 16), "bias": (2, 5), "scale": (2,)}


@pytest.mark.parametrize("tasks, task, data", [(8, 8, 16), (8, 2, 4), (4, 4, 1), (6, 1, 8)])
def test_bytes_against_those_of_each_collective(tasks, task, data):
    size, count = 1000, task * data
    here = tasks // task * size
    by_hand = here - here / data  # all but its own part is sent on
    by_hand += here / data - here / count  # all but what is for itself
    by_hand += size - size / count
    assert exchanged_bytes(size, tasks, task, data) == pytest.approx(by_hand)
    assert stacked_bytes(size, tasks, task, data) == pytest.approx(
        2 * (1 - 1 / count) * tasks * size
    )
    if task == tasks:
        # One gradient, all-reduced, and its part along the axis of tasks.
        more = exchanged_bytes(size, tasks, task, data) / stacked_bytes(size, 1, task, data)
        assert more == pytest.approx(1, rel=1 / data)


@pytest.mark.exhaustive
def test_parts_on_eight_devices(on_eight_devices: Callable[[str], str]):
    printed = on_eight_devices("""
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from mtljax.gradients import combine, cross_gramian, gramian, scaled_gramian
from mtljax.parallel import (
    collectives, exchange_gradients, exchanged_bytes, gather_parts, make_mesh, sent_bytes,
    split_dimensions,
)
from mtljax.parallel.task_exchange import exchanged_specs

shapes = {"wide": (24, 64), "stack": (2, 16, 3), "bias": (5,), "scale": (), "prime": (7, 11)}
params = {name: jnp.zeros(shape) for name, shape in shapes.items()}
dims = split_dimensions(params, 8)
rng = np.random.default_rng(0)

def check(task, data, tasks, scale=1.0):
    mesh = make_mesh(task, data)
    names = {"task": "task" if task > 1 else None, "data": "data" if data > 1 else None}
    axes = tuple(name for name in ("data", "task") if names[name])
    # Of each device along the axis of rows a part, which add up to the tasks' gradients.
    parts = {
        name: jnp.asarray(scale * rng.normal(size=(data, tasks, *shape)), jnp.float32)
        for name, shape in shapes.items()
    }
    weights = jnp.asarray(rng.uniform(size=tasks), jnp.float32)

    def of_device(parts, weights):
        rows = exchange_gradients(jax.tree.map(lambda leaf: leaf[0], parts), dims, **names)
        products, row_scale = scaled_gramian(rows, axis_name=axes)
        direction = gather_parts(combine(weights, rows), dims, params, **names)
        return products, row_scale, direction, rows

    mapped = jax.jit(jax.shard_map(
        of_device, mesh=mesh, in_specs=(P("data", "task"), P()),
        out_specs=(P(), P(), P(), exchanged_specs(dims, axes, lead=1)), check_vma=False,
    ))
    compiled = mapped.lower(parts, weights).compile()
    products, row_scale, direction, rows = compiled(parts, weights)
    whole = jax.tree.map(lambda leaf: leaf.sum(0), parts)
    expected = gramian(jax.tree.map(lambda leaf: leaf / scale, whole))
    np.testing.assert_allclose(
        products * jnp.outer(row_scale / scale, row_scale / scale), expected, rtol=1e-4, atol=1e-3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale),
        direction, combine(weights, whole))
    np.testing.assert_allclose(rows["wide"], whole["wide"], rtol=1e-4, atol=1e-5 * scale)
    assert len(rows["wide"].sharding.device_set) == 8
    # Only what is to be sent is sent, and what is added up is of the size of [T, T].
    found = collectives(compiled.as_text())
    sent = sent_bytes(found, 8)
    padded = {name: -(-int(np.prod(shape)) // 8) * 8 for name, shape in shapes.items()}
    wanted = exchanged_bytes(4 * sum(padded.values()), tasks, task, data)
    moved = sum(n for kind, n in sent.items() if kind != "all-reduce")
    assert abs(moved - wanted) < 1, (sent, wanted)
    assert all(one.size <= 4 * tasks * tasks for one in found if one.kind == "all-reduce")
    return {kind for kind, n in sent.items() if n}

print(sorted(check(2, 4, 4)))
check(8, 1, 8)
check(1, 8, 3)
check(4, 2, 4, scale=1e-24)

# Half as wide on their way: the Gramian is of the gradients that arrive, which are nearly the same.
mesh = make_mesh(2, 4)
both = {"task": "task", "data": "data"}
parts = {"wide": jnp.asarray(rng.normal(size=(4, 4, 24, 64)), jnp.float32)}
of_wide = {"wide": dims["wide"]}
def arrived(parts):
    parts = jax.tree.map(lambda leaf: leaf[0], parts)
    rows = exchange_gradients(parts, of_wide, **both, dtype=jnp.bfloat16)
    return rows, scaled_gramian(rows, axis_name=("data", "task"))[0]
mapped = jax.jit(jax.shard_map(
    arrived, mesh=mesh, in_specs=P("data", "task"),
    out_specs=(exchanged_specs(of_wide, ("data", "task"), lead=1), P()), check_vma=False,
))
text = mapped.lower(parts).as_text()
for kind in ("all_to_all", "reduce_scatter"):
    lines = text.split(f"stablehlo.{kind}")[1:]
    assert lines and all("bf16" in line.split("->")[1].split("\\n")[0] for line in lines), kind
rows, products = mapped(parts)
assert rows["wide"].dtype == jnp.float32
np.testing.assert_allclose(products, gramian(rows), rtol=1e-5)
whole = parts["wide"].sum(0)
error = jnp.linalg.norm(rows["wide"] - whole) / jnp.linalg.norm(whole)
assert 1e-4 < error < 1e-2, error
""")
    assert printed == "['all-gather', 'all-reduce', 'all-to-all', 'reduce-scatter']\n"
