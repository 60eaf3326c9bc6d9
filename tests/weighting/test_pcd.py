import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.pcd import PCDState, pcd
from tests.weighting.jacobians import jacobians
from tests.weighting.oracles import error, least_distance, table
from tests.weighting.padded import weights


def floors(num_tasks):
    """A tau for each task."""
    return np.linspace(0.02, 0.08, num_tasks)


def direction(rows, average, primary):
    """The paper's problem on the gradients; None if its constraints have no solution."""
    norms = np.linalg.norm(rows, axis=1)
    if not norms[primary]:
        return 0 * rows[0]
    scaled = rows / np.where(average > 0, average, 1)[:, None]
    asked = (np.arange(len(rows)) != primary) & (norms > 0)
    others, tau = scaled[asked], floors(len(rows))[asked]
    lengths = np.linalg.norm(others, axis=1, keepdims=True)
    bounds = tau * lengths[:, 0] - others / lengths @ scaled[primary]
    if (bounds <= 0).all():
        return rows[primary]
    change = least_distance(others / lengths, bounds)
    if change is None:
        return None
    found = scaled[primary] + change
    return norms[primary] * found / np.linalg.norm(found)


@pytest.mark.parametrize(
    ("num_tasks", "dtype", "tolerance"),
    [(2, "float64", 1e-8), (5, "float64", 1e-8), (20, "float64", 1e-8), (5, "float32", 1e-3)],
)
def test_is_the_nearest_direction_that_helps_the_others(num_tasks, dtype, tolerance):
    stack = jacobians(num_tasks)
    steps = [stack.rows, stack.rows[:, ::-1] * 3, stack.rows * np.arange(1, num_tasks + 1)[:, None]]
    compared = 0
    with jax.enable_x64(dtype == "float64"):
        method = pcd(floors(num_tasks), beta=0.9, primary=1)
        update = jax.jit(jax.vmap(lambda s, g: method.update(jnp.ones(num_tasks), s, gramian=g)))
        state = jax.tree.map(
            lambda leaf: jnp.stack([leaf] * len(stack.rows)), method.init(num_tasks)
        )
        squares = 0
        for count, rows in enumerate(steps, 1):
            gramians = jnp.asarray(rows @ rows.transpose(0, 2, 1), dtype)
            found, state = update(state, gramians)
            squares = 0.9 * squares + 0.1 * np.sum(rows**2, axis=2)
            average = np.sqrt(squares / (1 - 0.9**count))
            np.testing.assert_allclose(state.root, np.sqrt(squares), rtol=1e-5)
            for name, each, w, r in zip(stack.names, rows, np.asarray(found), average, strict=True):
                assert np.isfinite(w).all(), name
                expected = direction(each, r, 1)
                if expected is None:
                    np.testing.assert_array_equal(w, np.arange(num_tasks) == 1, err_msg=name)
                elif dtype == "float64" or "nearly opposite" not in name:
                    # Float32 cannot tell there whether the constraints have a solution.
                    compared += 1
                    assert error(each, w.astype(float), expected) <= tolerance, name
    assert compared > 60


def test_degenerate():
    cases = [
        ([[3.0]], [1]),
        ([[0.0]], [0]),
        ([[1, 0], [0, 0]], [1, 0]),
        ([[0, 0], [1, 0]], [0, 0]),
        ([[1, 0], [1, 1]], [1, 0]),
        ([[1, 0], [1, 0], [-1, 0]], [1, 0, 0]),
        ([[0, 0], [0, 0]], [0, 0]),
    ]
    found = weights(pcd(), table(*(rows for rows, _ in cases)), "float32")
    for each, (rows, expected) in zip(found, cases, strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-6, err_msg=str(rows))


def test_absent_tasks_wait_and_norms_of_all_sizes():
    method = pcd(primary=1)
    state = PCDState(jnp.array([1.0, 2.0, 3.0]), jnp.array([4, 5, 6]))
    scale = jnp.array([1e-25, 1e25, 1.0])
    mask = jnp.array([True, True, False])
    update = jax.jit(method.update)
    found, new = update(jnp.ones(3), state, gramian=jnp.eye(3), row_scale=scale, mask=mask)
    assert np.isfinite(found).all() and np.isfinite(new.root).all()
    assert found[1] > 0 and found[2] == 0
    np.testing.assert_array_equal(new.count, [5, 6, 6])
    np.testing.assert_array_equal(new.root[2], 3)
    found, new = update(jnp.ones(3), state, gramian=jnp.eye(3), row_scale=scale, mask=~mask)
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: pcd(tau=-1.0), ValueError, "tau"),
        (lambda: pcd(tau=[0.1, -1.0]), ValueError, "tau"),
        (lambda: pcd(tau="much"), TypeError, "tau"),
        (lambda: pcd(tau=[0.1, 0.2, 0.3]).init(2), ValueError, "tau"),
        (lambda: pcd(beta=1.0), ValueError, "beta"),
        (lambda: pcd(primary=-1), ValueError, "primary"),
        (lambda: pcd(primary=0.5), TypeError, "primary"),
        (lambda: pcd(primary=2).init(2), ValueError, "primary"),
    ],
)
def test_wrong_arguments(call, error, names):
    with pytest.raises(error, match=names):
        call()
