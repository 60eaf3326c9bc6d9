"""Solves the problems of `problems.py` with CVXPY; needs cvxpy 1.9, which the tests do not.

python tests/linear/make_golden.py > tests/linear/golden.json
"""

import json
import sys
from typing import Any

import numpy as np


def problem(loss: str, kind: str, penalty: dict[str, Any]) -> Any:
    import cvxpy as cp  # pyright: ignore[reportMissingImports]
    from problems import ADJACENCY, NUM_TASKS, sample  # pyright: ignore[reportMissingImports]

    features, targets, task, alpha = sample(kind)
    weights = cp.Variable((NUM_TASKS, features.shape[1]))
    intercept = cp.Variable(NUM_TASKS)
    scores = cp.sum(cp.multiply(features, weights[task]), axis=1) + intercept[task]
    margins = cp.multiply(2 * targets - 1, scores)
    slack = cp.Variable(len(targets), nonneg=True)
    constraints = [slack >= 1 - margins]
    losses = {
        "logistic": lambda: cp.logistic(-margins),
        "hinge": lambda: slack,
        "squared_hinge": lambda: cp.square(slack),
        "squared": lambda: cp.square(scores - targets),
    }[loss]()
    total = cp.sum(cp.multiply(alpha, losses))
    total += penalty.get("ridge", 0) / 2 * cp.sum_squares(weights)
    for i in range(NUM_TASKS):
        for j in range(i):
            edge = penalty.get("graph", 0) * ADJACENCY[i, j]
            total += edge / 2 * cp.sum_squares(weights[i] - weights[j])
    norms = {
        "none": lambda: 0,
        "l1": lambda: cp.sum(cp.abs(weights)),
        "groups": lambda: cp.sum(cp.norm(weights, 2, axis=0)),
        "trace": lambda: cp.normNuc(weights),
    }
    name, strength = penalty.get("norm", "none"), penalty.get("strength", 0)
    if name == "squared_trace":
        # Written with the covariance, as in the paper: s/2 tr W' Sigma^-1 W, trace of Sigma 1.
        sigma, bound = (cp.Variable((n, n), PSD=True) for n in (NUM_TASKS, features.shape[1]))
        constraints += [cp.trace(sigma) == 1, cp.bmat([[sigma, weights], [weights.T, bound]]) >> 0]
        return cp.Problem(cp.Minimize(total + strength / 2 * cp.trace(bound)), constraints)
    return cp.Problem(cp.Minimize(total + strength * norms[name]()), constraints)


def main() -> None:
    from problems import CASES  # pyright: ignore[reportMissingImports]

    golden = {}
    for name, case in CASES.items():
        convex = problem(*case)
        for tolerance in (1e-10, 1e-9, 1e-8, 1e-7):
            names = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
            try:
                golden[name] = float(
                    convex.solve(solver="CLARABEL", **dict.fromkeys(names, tolerance))
                )
                if convex.status == "optimal":
                    break
            except Exception as error:
                print(name, tolerance, error, file=sys.stderr)
        assert convex.status == "optimal" and np.isfinite(golden[name]), (name, convex.status)
    print(json.dumps(golden, indent=1))


if __name__ == "__main__":
    main()
