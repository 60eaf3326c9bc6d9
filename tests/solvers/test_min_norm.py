from itertools import combinations

import jax
import numpy as np
import pytest

from mtljax.solvers.min_norm import min_norm

compiled = jax.jit(min_norm)


def solve(gramians, present=True, size=None, dtype="float32", norms=None):
    """``[N, T]``; of `size` tasks, the last ones absent."""
    tasks, found = gramians.shape[1], []
    size = size or tasks
    norms = np.sqrt(np.diagonal(gramians, axis1=1, axis2=2)) if norms is None else norms
    here = np.zeros((len(gramians), size), bool)
    here[:, :tasks] = present
    with jax.enable_x64(dtype == "float64"):
        for gramian, lengths, mask in zip(gramians, norms, here, strict=True):
            cosines, full = np.zeros((size, size), dtype), np.zeros(size, dtype)
            safe = np.where(lengths > 0, lengths, 1)
            cosines[:tasks, :tasks], full[:tasks] = gramian / safe / safe[:, None], lengths
            weights = np.asarray(compiled(cosines, full, mask))
            assert weights.dtype == dtype and (weights[tasks:] == 0).all()
            found.append(weights[:tasks])
    return np.stack(found)


def shortest(rows):
    """The shortest convex combination: of the nearest points of all faces, the shortest inside."""
    best = min(rows, key=np.linalg.norm)
    for size in range(2, len(rows) + 1):
        for face in combinations(range(len(rows)), size):
            edges = rows[list(face[1:])] - rows[face[0]]
            steps, *_ = np.linalg.lstsq(edges.T, -rows[face[0]], rcond=None)
            if (steps >= -1e-12).all() and steps.sum() <= 1 + 1e-12:
                best = min(best, rows[face[0]] + steps @ edges, key=np.linalg.norm)
    return best


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-3)])
@pytest.mark.parametrize("size", [2, 4])
def test_equals_the_enumeration_of_faces(rng, size, dtype, tolerance):
    problems = rng.normal(size=(60, size, 5)) * 10 ** rng.uniform(-1, 1, (60, size, 1))
    problems[20:40] -= 0.9 * problems[20:40].mean(1, keepdims=True)
    problems[40:50, 1] = problems[40:50, 0]
    problems[50:, 1] = -2 * problems[50:, 0]
    found = solve(problems @ problems.transpose(0, 2, 1), dtype=dtype)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    for rows, weights in zip(problems, found, strict=True):
        # The rows that take part set the scale of rounding.
        scale = max(weights * np.linalg.norm(rows, axis=1))
        np.testing.assert_allclose(weights @ rows, shortest(rows), atol=tolerance * scale)


@pytest.mark.parametrize("size", [2, 3])
def test_absent_zero_and_extreme_rows(size):
    last = [0.0] * (size - 2)
    there = [True] * (size - 2)
    cases = [
        ([1, 1, *last], [False, True, *there], None),
        ([1, 1, *last], [False, False, *[False] * len(last)], [0, 0, *last]),
        ([0, 1, *[1.0] * len(last)], [True, True, *there], [1, 0, *last]),
        ([1e-30, 1e30, *[1e30] * len(last)], [True, True, *there], [1, 0, *last]),
        ([1e30, 1e-30, *[1.0] * len(last)], [True, True, *there], [0, 1, *last]),
    ]
    cases[0] = (cases[0][0], cases[0][1], [0, 1] if size == 2 else [0, 0, 1])
    norms, present = np.array([case[0] for case in cases]), np.array([case[1] for case in cases])
    gramians = np.stack([np.diag(each**2) for each in norms])
    found = solve(gramians, present, size=4 if size == 3 else 2, norms=norms)
    np.testing.assert_allclose(found, [case[2] for case in cases], atol=1e-7)
