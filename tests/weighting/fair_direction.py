"""Alpha-fair directions, found in the space of the gradients and not of the weights."""

import numpy as np
from scipy import optimize


def inner_direction(units: np.ndarray) -> np.ndarray | None:
    """The point of the convex hull closest to zero; None if it is closer than 0.02.

    Its inner product with every unit gradient is its squared norm at least.
    """
    stacked = np.vstack([units.T, np.ones(len(units))])
    shares, _ = optimize.nnls(stacked, np.eye(len(stacked))[-1])
    point = units.T @ shares / shares.sum()
    return point if np.linalg.norm(point) > 0.02 else None


def fair_direction(
    units: np.ndarray, shares: np.ndarray | None = None, alpha: float = 1.0
) -> np.ndarray | None:
    """Maximises ``sum_i c_i <u_i, d>^(1-alpha) / (1-alpha) - |d|^2 / 2`` (log for alpha = 1).

    Newton's method with a line search. Zero rows take no part. Returns None where the gradients
    are so close to stationary that rounding decides.
    """
    present = np.linalg.norm(units, axis=1) > 0
    shares = np.ones(len(units)) if shares is None else shares
    units, shares = units[present], shares[present]
    d = inner_direction(units) if present.any() else None
    if d is None:
        return None

    def utility(d):
        gains = units @ d
        if gains.min() <= 0:
            return -np.inf
        powers = np.log(gains) if alpha == 1 else gains ** (1 - alpha) / (1 - alpha)
        return shares @ powers - d @ d / 2

    d = d * (shares @ (units @ d) ** (1 - alpha) / (d @ d)) ** (1 / (1 + alpha))
    for _ in range(300):
        gains = units @ d
        pulls = shares * gains**-alpha
        hessian = np.eye(len(d)) + (units.T * (alpha * pulls / gains)) @ units
        step = np.linalg.solve(hessian, units.T @ pulls - d)
        size = np.linalg.norm(step) / np.linalg.norm(d)
        if size < 1e-10:
            return d + step
        length, now = 1.0, utility(d)
        # Close to the end rounding decides which utility is larger, and Newton's step is right.
        while size > 1e-4 and utility(d + length * step) < now and length > 1e-10:
            length /= 2
        d = d + length * step
    return d
