import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.gradients.dense_products import LONG, dense_products, leaf_products

products = jax.jit(dense_products)


@pytest.mark.parametrize("tasks", [1, 2, 7, 8, 9, 33])
def test_equals_numpy(rng, tasks):
    """Few and many tasks; lengths that are multiples of a block, and others."""
    leaves = [rng.normal(size=(tasks, size)) for size in (LONG, 2**16, 2**16 + 8192 + 77)]
    expected = sum(leaf @ leaf.T for leaf in leaves)
    found = np.asarray(products([jnp.asarray(leaf, jnp.float32) for leaf in leaves]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max())
    # Small next to large ones are as exact as the large ones let them be.
    norms = np.sqrt(np.diag(expected))
    np.testing.assert_array_less(np.abs(found - expected), 1e-5 * np.outer(norms, norms))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("bfloat16", 1e-6)])
def test_dtypes(rng, dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        leaf = jnp.asarray(rng.normal(size=(3, LONG)), dtype)
        found = products([leaf])
        assert found.dtype == ("float64" if dtype == "float64" else "float32")
        wide = np.asarray(leaf).astype(np.float64)  # products of bfloat16 are exact in float32
        np.testing.assert_allclose(found, wide @ wide.T, atol=tolerance * LONG)


def test_a_task_that_is_not_finite_keeps_to_itself(rng):
    rows = rng.normal(size=(11, LONG)).astype(np.float32)
    rows[4, 100], rows[9, 3] = np.nan, np.inf
    found = np.asarray(products([jnp.asarray(rows)]))
    touched = np.zeros(11, bool)
    touched[[4, 9]] = True
    np.testing.assert_array_equal(np.isfinite(found), ~(touched[:, None] | touched))


@pytest.mark.parametrize(("tasks", "others"), [(1, 3), (8, 8), (9, 2)])
def test_rows_with_other_columns(rng, tasks, others):
    """Of leaves of which some are long, in a tree with parameter axes."""
    shapes = [(3,), (), (128, 129), (2, LONG)]
    rows = [rng.normal(size=(tasks, *shape)) for shape in shapes]
    columns = [rng.normal(size=(others, *shape)) for shape in shapes]
    pairs = zip(rows, columns, strict=True)
    expected = sum(one.reshape(tasks, -1) @ other.reshape(others, -1).T for one, other in pairs)
    found = jax.jit(dense_products)(*jax.tree.map(jnp.float32, (rows, columns)))
    size = sum(one[0].size for one in rows)  # of squared norms, since the entries are of size 1
    np.testing.assert_allclose(found, expected, atol=1e-6 * size)


def test_one_leaf(rng):
    leaf = rng.normal(size=(4, 3, 5)).astype(np.float32)
    flat = leaf.reshape(4, -1)
    np.testing.assert_allclose(leaf_products(jnp.asarray(leaf)), flat @ flat.T, atol=1e-5)
    assert leaf_products(jnp.asarray(leaf, jnp.bfloat16)).dtype == jnp.float32


def test_within_shard_map(rng):
    """Where JAX keeps account of what varies over the devices."""
    mesh = jax.make_mesh((1,), ("data",))
    rows = rng.normal(size=(3, LONG)).astype(np.float32)
    leaf = jax.device_put(rows, jax.NamedSharding(mesh, jax.P(None, "data")))
    summed = jax.shard_map(
        lambda part: jax.lax.psum(dense_products([part]), "data"),
        mesh=mesh,
        in_specs=jax.P(None, "data"),
        out_specs=jax.P(),
    )
    np.testing.assert_allclose(jax.jit(summed)(leaf), products([rows]), rtol=1e-6)
