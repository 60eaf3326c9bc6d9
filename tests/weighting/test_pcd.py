import numpy as np
import pytest

from mtljax.weighting.pcd import PCDState, pcd
from tests.weighting.jacobians import jacobians
from tests.weighting.oracles import error, least_distance, table
from tests.weighting.padded import updates, walks, weights

SIZE = 20
# A tau for each task.
FLOORS = np.linspace(0.02, 0.08, SIZE)
SECOND = pcd(FLOORS, beta=0.9, primary=1)


def direction(rows, average, primary):
    """The paper's problem on the gradients; None if its constraints have no solution."""
    norms = np.linalg.norm(rows, axis=1)
    if not norms[primary]:
        return 0 * rows[0]
    scaled = rows / np.where(average > 0, average, 1)[:, None]
    asked = (np.arange(len(rows)) != primary) & (norms > 0)
    others, tau = scaled[asked], FLOORS[: len(rows)][asked]
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
    gramians = [rows @ rows.transpose(0, 2, 1) for rows in steps]
    compared, squares = 0, 0
    for count, (rows, (found, state)) in enumerate(
        zip(steps, walks(SECOND, gramians, dtype, SIZE), strict=True), 1
    ):
        squares = 0.9 * squares + 0.1 * np.sum(rows**2, axis=2)
        average = np.sqrt(squares / (1 - 0.9**count))
        np.testing.assert_allclose(state.root[:, :num_tasks], np.sqrt(squares), rtol=1e-5)
        for name, each, w, r in zip(stack.names, rows, found, average, strict=True):
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
    found = weights(pcd(), table(*(rows for rows, _ in cases)), "float32", size=3)
    for each, (rows, expected) in zip(found, cases, strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-6, err_msg=str(rows))


def test_absent_tasks_wait_and_norms_of_all_sizes():
    state = PCDState(np.full(SIZE, 3, np.float32), np.full(SIZE, 6, np.int32))
    state.root[:2], state.count[:2] = [1, 2], [4, 5]
    ones, gramian = np.ones(SIZE, np.float32), {"gramian": np.eye(SIZE, dtype=np.float32)}
    scale, mask = ones.copy(), np.arange(SIZE) < 2
    scale[:2] = [1e-25, 1e25]
    found, new = updates(SECOND)((), ones, state, mask, scale, gramian)
    assert np.isfinite(found).all() and np.isfinite(new.root).all()
    assert found[1] > 0 and (found[2:] == 0).all()
    np.testing.assert_array_equal(new.count[:3], [5, 6, 6])
    np.testing.assert_array_equal(new.root[2:], 3)
    found, new = updates(SECOND)((), ones, state, ~mask, scale, gramian)
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
