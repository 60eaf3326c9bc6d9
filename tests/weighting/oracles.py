"""Exact solutions from the gradients themselves, by SciPy's NNLS on unit rows, in float64."""

import functools

import numpy as np
from scipy.optimize import nnls

from tests.weighting.padded import Problem, problems, unit


def shortest(rows: np.ndarray) -> np.ndarray:
    """The shortest convex combination ``[P]`` of rows ``[T, P]``."""
    units, norms = unit(rows)
    if not norms.all():
        return np.zeros(rows.shape[1])
    inverse = norms.min() / norms
    best = min(rows, key=np.linalg.norm)
    # Minimises nu |U'y|^2 + (b'y - 1)^2: unlike nu suit rows of unlike norms.
    for nu in 10.0 ** np.arange(0, 13, 2):
        system = np.vstack([np.sqrt(nu) * units.T, inverse])
        y, _ = nnls(system, np.append(np.zeros(rows.shape[1]), 1), maxiter=1000)
        if y @ inverse > 0:
            best = min(best, norms.min() * (y @ units) / (y @ inverse), key=np.linalg.norm)
    return best


def into_dual_cone(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The vector nearest to `vector` that has no negative product with a row."""
    units, _ = unit(rows)
    length = np.linalg.norm(vector)
    # SciPy's NNLS can go astray where all products are zero up to rounding.
    if not length or (units @ vector >= -1e-14 * length).all():
        return vector
    y, _ = nnls(units.T, -vector / length, maxiter=1000)
    return vector + length * (y @ units)


def least_distance(rows: np.ndarray, bounds: np.ndarray) -> np.ndarray | None:
    """The shortest x with ``rows @ x >= bounds``; None if there is none.

    Lawson and Hanson, "Solving Least Squares Problems", chapter 23, algorithm LDP.
    """
    system = np.vstack([rows.T, bounds])
    wanted = np.append(np.zeros(rows.shape[1]), 1)
    y, _ = nnls(system, wanted, maxiter=1000)
    residual = system @ y - wanted
    return None if np.linalg.norm(residual) < 1e-7 else -residual[:-1] / residual[-1]


def singular_values(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``U [T, T]``, falling singular values ``[T]`` and ``V' [T, P]``, in extended precision.

    By Jacobi rotations of the gradients themselves, which keep small singular values precise
    where those of LAPACK are only known up to the rounding of the largest.
    """
    return _singular_values(rows.shape, rows.dtype.str, rows.tobytes())


def _rounds(count):
    """All pairs of `count` players, in rounds in which each plays once, the first one higher up."""
    players = np.arange(count + count % 2)
    half = len(players) // 2
    for _ in range(len(players) - 1):
        pairs = np.sort([players[:half], players[half:][::-1]], axis=0)
        yield pairs[:, pairs[1] < count]
        players[1:] = np.roll(players[1:], 1)


@functools.cache
def _singular_values(shape, dtype, content):
    rows = np.frombuffer(content, dtype).reshape(shape)
    order = np.argsort(-np.linalg.norm(rows, axis=1))
    rotated = rows[order].astype(np.longdouble)
    left = np.eye(len(rows), dtype=np.longdouble)
    for _ in range(40):
        largest = 0.0
        for p, q in _rounds(len(rows)):
            a, b = ((rotated[each] ** 2).sum(1) for each in (p, q))
            product = (rotated[p] * rotated[q]).sum(1)
            lengths = np.sqrt(a) * np.sqrt(b)
            turned = np.abs(product) > 1e-18 * lengths
            if not turned.any():
                continue
            p, q, a, b, product, lengths = (x[turned] for x in (p, q, a, b, product, lengths))
            largest = max(largest, (np.abs(product) / lengths).max())
            zeta = (b - a) / (2 * product)
            tangent = np.where(zeta >= 0, 1, -1) / (np.abs(zeta) + np.sqrt(1 + zeta**2))
            cos = 1 / np.sqrt(1 + tangent**2)[:, None]
            sin = cos * tangent[:, None]
            for each in (rotated, left):
                one, other = each[p], each[q]
                each[p], each[q] = cos * one - sin * other, sin * one + cos * other
        if largest < 1e-16:
            break
    values = np.sqrt((rotated**2).sum(1))
    falling = np.argsort(-values)
    right = rotated / np.where(values > 0, values, 1)[:, None]
    result = np.empty_like(left)
    result[order] = left.T
    return result[:, falling], values[falling], right[falling]


def error(rows: np.ndarray, found: np.ndarray, direction: np.ndarray) -> float:
    """How far weights are from a direction, relative to it or the longest term of the sum."""
    _, norms = unit(rows)
    scale = max(np.linalg.norm(direction), *(np.abs(found) * norms))
    return float(np.linalg.norm(rows.T @ found - direction) / scale) if scale else 0.0


def every_problem() -> tuple[Problem, ...]:
    """All problems of up to 10 tasks and some larger ones, for one compilation."""
    return problems((1, 2, 3, 5, 10)) + problems((20, 50))[::4]


def table(*rows: list) -> tuple[Problem, ...]:
    """Problems of rows given one by one."""
    return tuple(Problem(np.array(each, float), str(each), False) for each in rows)
