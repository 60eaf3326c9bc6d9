"""Gradients of tables that encoders look up, against `jax.grad` of plain losses."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients
from mtljax.gradients import Examples, RowGradients, Unbatched, as_dense, look_up, tables

V, D = 60, 3
WEIGHTS = np.array([0.5, -1.0, 2.0, 1.5])


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch):
    """Tables are kept by rows however small they are."""
    monkeypatch.setattr(tables, "_MIN_SIZE", 1)


def take(table, ids):
    return jnp.take(table, ids, axis=0)


def encoder(read):
    """Words, some of them read twice or dropped, and pairs; the table of words is a feature."""

    def encode(shared, ids, key=None):
        if key is not None:
            ids = jnp.where(jax.random.bernoulli(key, jnp.float32(0.3), ids.shape), 1, ids)
        words = read(shared["words"], ids)
        pairs = read(shared["nested"]["pairs"], (ids[:, 1:] * 7 + ids[:, :-1]) % (2 * V))
        mixed = words.at[:, 1:].add(jnp.tanh(pairs)) + read(shared["words"], ids[:, ::-1]) ** 2
        hidden = jnp.tanh(mixed @ shared["kernel"])
        return {"hidden": hidden, "ids": ids, "table": Unbatched(shared["words"])}

    return encode


def plain_head(params, features, targets, key=None):
    del key
    return jnp.mean((features["hidden"].mean(1) @ params - targets) ** 2)


def tied_head(params, features, targets, key=None):
    """Reads the whole table."""
    del key
    logits = features["hidden"].mean(1) @ (features["table"].value * params).T
    return jnp.mean(jax.nn.logsumexp(logits, -1) - logits[:, 0] * targets)


def problem(rng, groups, tied=(), dtype=np.float32):
    """Parameters and a batch; groups are ``{name: (rows, tasks)}``."""
    shared = {
        "words": rng.normal(size=(V, D)),
        "nested": {"pairs": rng.normal(size=(2 * V, D))},
        "kernel": rng.normal(size=(D, D)),
    }
    batch, heads, params = {}, {}, {}
    for name, (rows, tasks) in groups.items():
        ids = rng.integers(-2, 9, (rows, 3))  # few, and some of them from the end
        batch[name] = Examples(ids, {t: rng.normal(size=rows).astype(dtype) for t in tasks})
        for task in tasks:
            heads[task] = tied_head if task in tied else plain_head
            params[task] = rng.normal(size=D).astype(dtype)
    shared = jax.tree.map(lambda leaf: leaf.astype(dtype), shared)
    # Not in the order of the groups.
    names = sorted(heads)[::-1]
    return shared, {n: heads[n] for n in names}, {n: params[n] for n in names}, batch


@functools.cache
def all_losses(heads):
    """The losses of tasks with some heads, and their gradients, compiled once for each shape."""

    def losses(shared, params, batch, key):
        found = []
        for task, head in heads:
            ((index, group),) = [
                (k, name) for k, name in enumerate(sorted(batch)) if task in batch[name].targets
            ]
            group_key = None if key is None else jax.random.fold_in(key, index)
            features = encoder(take)(shared, batch[group].inputs, group_key)
            found.append(head(params[task], features, batch[group].targets[task]))
        return found

    return jax.jit(jax.jacrev(losses))


def one_by_one(shared, heads, params, batch, key):
    """The gradient of each task's own loss, in float64."""

    def wide(tree):
        return jax.tree.map(
            lambda leaf: np.asarray(leaf, np.float64 if leaf.dtype.kind == "f" else None), tree
        )

    with jax.enable_x64(True):
        found = all_losses(tuple(heads.items()))(wide(shared), wide(params), wide(batch), key)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


CASES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "alike": ({"x": (2, "a"), "y": (2, "b"), "z": (2, "c")}, ()),
    "tied": ({"x": (2, "ad"), "y": (1, "b"), "z": (2, "c")}, ("b",)),
    "many": ({"x": (2, "bc"), "y": (40, "a"), "z": (1, "d")}, ()),
}
"""Groups of equal shapes; one whose head reads the table; one that reads many rows."""

DENSE = {"alike": (), "tied": (2,), "many": (3,)}
"""The tasks, in the order of the heads, whose gradient of the words is dense."""


@pytest.mark.parametrize(
    ("case", "strategy", "keyed", "dtype"),
    [
        ("alike", "scanned", True, np.float32),
        ("alike", "auto", True, np.float64),
        ("alike", "vmapped", False, np.float32),
        ("alike", "unrolled", False, np.float32),
        ("tied", "unrolled", True, np.float32),
        ("many", "auto", False, np.float64),
    ],
)
def test_equal_to_the_gradient_of_each_loss(rng, case, strategy, keyed, dtype):
    groups, tied = CASES[case]
    with jax.enable_x64(dtype == np.float64):
        shared, heads, params, batch = problem(rng, groups, tied, dtype)
        key = jax.random.key(3) if keyed else None
        weights = WEIGHTS[: len(heads)].astype(dtype)

        @jax.jit
        def run(shared, params, batch):
            found = gradients.task_gradients(
                encoder(look_up), heads, shared, params, batch, key=key, strategy=strategy
            ).shared
            return found, {
                "gramian": gradients.gramian(found),
                "diagonal": gradients.gramian_diagonal(found),
                "cross": gradients.cross_gramian(found, as_dense(found)),
                "direction": gradients.combine(weights, found),
                "sketches": (gradients.sketch(found, 61), gradients.sketch(as_dense(found), 61)),
                "dense": as_dense(found),
            }

        rows, found = run(shared, params, batch)
        expected = one_by_one(shared, heads, params, batch, key)
    assert isinstance(rows["words"], RowGradients)
    order = {task: i for i, task in enumerate(heads)}
    assert rows["words"].dense_tasks == DENSE[case], order
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    flat = np.concatenate(
        [np.reshape(leaf, (len(heads), -1)) for leaf in jax.tree.leaves(expected)], axis=1
    )
    largest = np.abs(flat).max()

    def close(a, b, scale):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)

    jax.tree.map(lambda a, b: close(a, b, largest), found["dense"], expected)
    size = (flat**2).sum(1).max()
    for name in ("gramian", "cross"):
        close(found[name], flat @ flat.T, size)
    close(found["diagonal"], (flat**2).sum(1), size)
    jax.tree.map(
        lambda a, b: close(a, np.tensordot(weights, b, 1), 4 * largest),
        found["direction"],
        expected,
    )
    close(*found["sketches"], 10 * largest)
    for task, (indices, values) in enumerate(
        zip(np.asarray(rows["words"].indices), np.asarray(rows["words"].values), strict=True)
    ):
        used = indices[indices < V]
        assert (np.diff(used) > 0).all() and not values[len(used) :].any(), task


@pytest.mark.parametrize(("case", "strategy"), [("alike", "scanned"), ("tied", "unrolled")])
@pytest.mark.parametrize("size", [None, 61])
def test_lagged(rng, case, strategy, size):
    groups, tied = CASES[case]
    shared, heads, params, batch = problem(rng, groups, tied)
    weights = WEIGHTS[: len(heads)].astype(np.float32)
    found = jax.jit(
        lambda shared: gradients.lagged_gradients(
            encoder(look_up), heads, shared, params, batch, weights, strategy=strategy, sketch=size
        )
    )(shared)
    expected = one_by_one(shared, heads, params, batch, None)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, np.tensordot(weights, b, 1), rtol=1e-4, atol=1e-5
        ),
        found.direction,
        expected,
    )
    if size is None:
        flat = [np.reshape(leaf, (len(heads), -1)) for leaf in jax.tree.leaves(expected)]
        flat = np.concatenate(flat, axis=1)
    else:
        sketch = jax.jit(gradients.sketch, static_argnums=1)
        flat = np.asarray(sketch(jax.tree.map(np.float32, expected), size), np.float64)
    products = flat @ flat.T
    np.testing.assert_allclose(
        found.gramian, products, rtol=1e-4, atol=1e-4 * float(products.max())
    )


@pytest.mark.parametrize("case", ["alike", "tied"])
def test_a_weighted_gradient_of_one_group_after_the_other(rng, case):
    groups, tied = CASES[case]
    shared, heads, params, batch = problem(rng, groups, tied)
    weights = WEIGHTS[: len(heads)].astype(np.float32)
    found = jax.jit(
        lambda shared: gradients.weighted_gradient(
            encoder(look_up), heads, shared, params, batch, weights
        )
    )(shared)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, np.tensordot(weights, b, 1), rtol=1e-4, atol=1e-5
        ),
        found.shared,
        one_by_one(shared, heads, params, batch, None),
    )


def test_a_table_that_is_used_otherwise_is_dense(rng):
    """Cast, computed, or passed to a compiled function: `look_up` does not know it."""
    shared, heads, params, batch = problem(rng, CASES["alike"][0])

    def encode(shared, ids):
        words = look_up(shared["words"].astype(jnp.bfloat16).astype(jnp.float32), ids)
        pairs = jax.jit(look_up)(shared["nested"]["pairs"], ids)
        scanned = jax.lax.map(lambda row: look_up(shared["words"], row), ids)
        # Here it does, but the table is also summed.
        hidden = words + pairs + scanned + look_up(shared["kernel"], ids * 0) + shared["kernel"][0]
        return {"hidden": hidden, "table": Unbatched(())}

    found = gradients.task_gradients(encode, heads, shared, params, batch).shared
    assert not any(isinstance(leaf, RowGradients) for leaf in jax.tree.leaves(found))
    for i, task in enumerate(heads):
        (name,) = [name for name in batch if task in batch[name].targets]

        def loss(shared, task=task, name=name):
            features = encode(shared, batch[name].inputs)
            return plain_head(params[task], features, batch[name].targets[task])

        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5),
            found,
            jax.jit(jax.grad(loss))(shared),
        )


def test_no_gradient_of_a_task_has_the_size_of_the_table(rng, monkeypatch):
    """Neither of the strategies; the sum alone is as large."""
    monkeypatch.undo()
    _, heads, params, batch = problem(rng, CASES["alike"][0])
    shapes = {"words": (4001, 5), "nested": {"pairs": (5003, 5)}, "kernel": (5, 5)}
    shared = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, np.float32),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )
    params = jax.tree.map(lambda leaf: np.ones(5, np.float32), params)
    for strategy in ("unrolled", "vmapped", "scanned"):

        @jax.jit
        def run(shared, strategy=strategy):
            found = gradients.task_gradients(
                encoder(look_up), heads, shared, params, batch, strategy=strategy
            ).shared
            return gradients.gramian(found), gradients.combine(jnp.ones(3), found)

        text = str(run.lower(shared).compile().as_text())
        assert "f32[4001,5]" in text
        for size in (4001, 5003):
            assert f"f32[3,{size}" not in text and f"f32[1,{size}" not in text
