"""Gradients of a table that few rows have, against the table of them all."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import aggregation, gradients, weighting
from mtljax.gradients import Examples, RowGradients, gather_rows, unique_rows

compiled = jax.jit(unique_rows, static_argnums=2)
gathered = jax.jit(gather_rows, static_argnums=2)


def tables(rng, dtype=np.float32, row=(4,), tasks=3, places=10, num_rows=12):
    """The same gradients in both forms."""
    indices = rng.integers(-1, num_rows + 2, (tasks, places))
    values = rng.normal(size=(tasks, places, *row)).astype(dtype)
    table = np.zeros((tasks, num_rows, *row), dtype)
    for i, index in np.ndenumerate(indices):
        if 0 <= index < num_rows:
            table[i[0], index] += values[i]
    return compiled(indices, values, num_rows), table


@pytest.mark.parametrize("row", [(4,), (), (2, 3)])
def test_unique_rows(rng, row):
    rows, table = tables(rng, row=row)
    for i in range(3):
        index = np.asarray(rows.indices[i])
        used = index[index < 12]
        assert (np.diff(used) > 0).all() and (index[len(used) :] == 12).all()
        np.testing.assert_allclose(rows.values[i, : len(used)], table[i, used], rtol=1e-6)
        assert not np.asarray(rows.values[i, len(used) :]).any()


@pytest.mark.parametrize(("row", "jit"), [((4,), False), ((4,), True), ((), True), ((2, 3), True)])
def test_products_and_sums_are_those_of_the_table(rng, row, jit):
    rows, table = tables(rng, row=row)
    bias = rng.normal(size=(3, 5)).astype(np.float32)
    sparse, full = {"table": rows, "bias": bias}, {"table": table, "bias": bias}
    other, other_table = tables(rng, row=row, tasks=2, places=7)
    weights = np.array([0.5, -1.0, 2.0], np.float32)
    wide = np.concatenate([np.reshape(table, (3, -1)), bias], axis=1, dtype=np.float64)

    def all_of(weights, sparse, full, rows, other):
        return (
            gradients.gramian(sparse),
            gradients.gramian_diagonal(sparse),
            gradients.cross_gramian(rows, other),
            gradients.combine(weights, sparse),
            # Outside of a compiled function, sketches have a test of their own.
            (gradients.sketch(sparse, 61), gradients.sketch(full, 61)) if jit else (0, 0),
        )

    found = (jax.jit(all_of) if jit else all_of)(weights, sparse, full, rows, other)
    gramian, diagonal, cross, direction, sketches = found
    exact = wide @ wide.T
    np.testing.assert_allclose(gramian, exact, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(diagonal, np.diagonal(exact), rtol=1e-5)
    exact = np.reshape(table, (3, -1)) @ np.reshape(other_table, (2, -1)).T
    np.testing.assert_allclose(cross, exact, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        direction["table"], np.tensordot(weights, table, 1), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(direction["bias"], weights @ bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(*sketches, rtol=1e-5, atol=1e-5)
    assert gradients.task_count(sparse) == 3


@pytest.mark.parametrize("size", [1.0, 1e-25, 1e25])
def test_scaled(rng, size):
    rows, table = tables(rng)
    rows = RowGradients(rows.indices, rows.values * size, rows.num_rows)
    products, scale = jax.jit(gradients.scaled_gramian)(rows)
    flat = np.reshape(table, (3, -1)).astype(np.float64)
    units = flat / np.asarray(scale, np.float64)[:, None] * size
    np.testing.assert_allclose(products, units @ units.T, rtol=1e-5, atol=1e-5 * products.max())


def test_dtypes(rng):
    rows, table = tables(rng)
    half = RowGradients(rows.indices, np.asarray(rows.values).astype(jnp.bfloat16), 12)
    assert jax.eval_shape(gradients.gramian, half).dtype == jnp.float32
    assert jax.eval_shape(gradients.combine, np.ones(3, np.float32), half).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        rows, table = tables(rng, np.float64)
        found = jax.jit(gradients.gramian)(rows)
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(
            found, np.reshape(table, (3, -1)) @ np.reshape(table, (3, -1)).T, rtol=1e-12, atol=1e-12
        )


def test_a_nan_stays_out(rng):
    """A task of weight 0 is left out; products of the other tasks are finite."""
    values = np.array([[[np.nan]], [[2.0]], [[3.0]]], np.float32)
    rows = compiled(np.array([[1], [1], [2]]), values, 4)
    found = np.isnan(jax.jit(gradients.gramian)(rows))
    assert found[0, 0] and found[0, 1] and not found[1:, 1:].any()
    found = jax.jit(gradients.combine)(np.array([0, 1, 1]), rows)
    np.testing.assert_array_equal(found[:, 0], [0, 2, 3, 0])


def test_weightings_take_them(rng):
    rows, table = tables(rng)
    ones = np.ones((3, 2), np.float32)
    sparse, full = {"a": rows, "b": ones}, {"a": table, "b": ones}
    losses = np.ones(3, np.float32)
    params = {"a": np.zeros((12, 4), np.float32), "b": np.zeros(2, np.float32)}
    for method in (
        aggregation.from_weighting(weighting.imtl_g(), 3),
        aggregation.per_group(weighting.imtl_g(), 3, lambda path: path),
    ):
        state = method.init(params)

        @jax.jit
        def both(sparse, full, state=state, update=method.update):
            return [update(rows, state, params, losses=losses)[0] for rows in (sparse, full)]

        found, wanted = both(sparse, full)
        for name in params:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [None, 15, 30])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_gather_rows(rng, size, dtype):
    table = rng.normal(size=(40, 3)).astype(np.float32)
    ids = rng.integers(0, 40, (3, 5)).astype(dtype)
    rows, positions, indices = map(np.asarray, gathered(table, ids, size))
    unique = np.unique(ids)
    assert rows.shape == (size or 15, 3) and positions.shape == ids.shape
    np.testing.assert_array_equal(indices[: len(unique)], unique)
    assert (indices[len(unique) :] == 40).all() and not rows[len(unique) :].any()
    np.testing.assert_array_equal(rows[positions], table[ids])


def test_no_more_rows_than_the_table():
    assert gather_rows(jnp.ones((4, 2)), jnp.arange(40) % 4).rows.shape == (4, 2)


@pytest.mark.parametrize("strategy", ["unrolled", "vmapped", "scanned"])
def test_gradients_of_gathered_rows(rng, strategy):
    """Each task's own rows, against its gradient with respect to the table."""
    table = jnp.asarray(rng.normal(size=(30, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)
    ids = {task: jnp.asarray(rng.integers(0, 30, (4, 5))) for task in "abc"}
    batch = {task: Examples(own, {task: jnp.ones(4)}) for task, own in ids.items()}
    params = {task: jnp.asarray(rng.normal(size=4), jnp.float32) for task in ids}

    def features(table, kernel, ids):
        return jnp.tanh(jnp.take(table, ids, axis=0) @ kernel).mean(1)

    def head(params, features, targets):
        return jnp.sum((features @ params - targets) ** 2)

    def by_rows(table, kernel, params, batch):
        def encode(shared, ids):
            rows, positions, _ = gather_rows(table, ids)
            return features(rows + shared["rows"], shared["kernel"], positions)

        shared = {"rows": jnp.zeros((20, 3)), "kernel": kernel}
        grads = gradients.task_gradients(
            encode, dict.fromkeys(params, head), shared, params, batch, strategy=strategy
        ).shared
        indices = [gather_rows(table, examples.inputs).indices for examples in batch.values()]
        return {**grads, "rows": RowGradients(jnp.stack(indices), grads["rows"], 30)}

    found = jax.jit(by_rows)(table, kernel, params, batch)

    @jax.jit
    def slopes(table, kernel, own, params):
        def loss(table, kernel):
            return head(params, features(table, kernel, own), jnp.ones(4))

        return jax.grad(loss, (0, 1))(table, kernel)

    of_tasks = [slopes(table, kernel, own, params[task]) for task, own in ids.items()]
    dense = np.stack([np.concatenate([np.ravel(x) for x in one]) for one in of_tasks])
    weights = np.array([1.0, -0.5, 2.0], np.float32)
    products, direction = jax.jit(lambda w, x: (gradients.gramian(x), gradients.combine(w, x)))(
        weights, found
    )
    np.testing.assert_allclose(products, dense @ dense.T, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        np.concatenate([np.ravel(direction["rows"]), np.ravel(direction["kernel"])]),
        weights @ dense,
        rtol=1e-5,
        atol=1e-5,
    )


def test_nothing_has_the_size_of_the_table():
    """Eight tasks of 64 rows of 50,000."""
    indices = jax.ShapeDtypeStruct((8, 64), jnp.int32)
    values = jax.ShapeDtypeStruct((8, 64, 16), jnp.float32)
    rows = RowGradients(indices, values, 50_000)
    memory: Any = jax.jit(gradients.gramian).lower(rows).compile().memory_analysis()
    # A few integers for each of its rows, and the rows that tasks share.
    assert memory.temp_size_in_bytes < 50_000 * 16 * 4 / 3
    memory = jax.jit(gradients.combine).lower(jnp.ones(8), rows).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 2 * 50_000 * 16 * 4


def test_bad_rows():
    good = RowGradients(jnp.zeros((2, 3), int), jnp.ones((2, 3, 4)), 9)
    with pytest.raises(ValueError, match=r"'a'.*\(2, 3\).*\(2, 5, 4\)"):
        gradients.gramian({"a": RowGradients(good.indices, jnp.ones((2, 5, 4)), 9)})
    with pytest.raises(ValueError, match=r"'b' has 3 tasks"):
        gradients.gramian({"a": good, "b": jnp.ones((3, 1))})
    with pytest.raises(TypeError, match="'a'"):
        gradients.gramian({"a": RowGradients(good.indices, jnp.ones((2, 3), int), 9)})
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 4, 1\)"):
        unique_rows(jnp.zeros((2, 3)), jnp.ones((2, 4, 1)), 9)
    with pytest.raises(ValueError, match=r"weights must have shape \(2,\)"):
        gradients.combine(jnp.ones(3), {"a": good})
    with pytest.raises(ValueError, match="rows.*9.*8"):
        gradients.cross_gramian(good, RowGradients(good.indices, good.values, 8))
    with pytest.raises(ValueError, match="trees of task gradients differ"):
        gradients.cross_gramian({"a": good}, {"b": jnp.ones((2, 9, 4))})
    with pytest.raises(ValueError, match="size must be 6 or more"):
        gather_rows(jnp.ones((9, 1)), jnp.zeros((2, 3), int), 5)
