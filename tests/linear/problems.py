"""Small problems of several tasks, for tests and for `make_golden.py`; NumPy alone."""

from typing import Any, NamedTuple

import numpy as np


class Sample(NamedTuple):
    features: np.ndarray
    targets: np.ndarray
    task: np.ndarray
    alpha: np.ndarray


NUM_TASKS = 4
ADJACENCY = np.array([[0, 1, 0, 0], [1, 0, 0, 0.5], [0, 0, 0, 1], [0, 0.5, 1, 0]])


def sample(kind: str = "classes", seed: int = 0) -> Sample:
    """Tasks 0 and 1 alike, 2 opposed to them, 3 on its own; samples have weights of their own."""
    rng = np.random.default_rng(seed)
    count, width = 30, 7
    base, other = rng.normal(size=(2, width))
    weights = np.stack([base, base + 0.1 * rng.normal(size=width), -base, other])
    task = rng.permutation(np.repeat(np.arange(NUM_TASKS), count))
    features = rng.normal(size=(task.size, width))
    noisy = np.sum(features * weights[task], 1) + 0.3 + 0.5 * rng.normal(size=task.size)
    targets = (noisy > 0).astype(float) if kind == "classes" else noisy
    return Sample(features, targets, task, rng.uniform(0.2, 2.0, task.size))


# By name: loss, kind of the targets, and the arguments of the penalty.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "logistic l2": ("logistic", "classes", {"ridge": 0.5}),
    "logistic l1": ("logistic", "classes", {"norm": "l1", "strength": 1.5}),
    "logistic trace": ("logistic", "classes", {"norm": "trace", "strength": 2.0}),
    "squared trace, ridge": (
        "squared",
        "numbers",
        {"norm": "trace", "strength": 4.0, "ridge": 1.0},
    ),
    "logistic graph": ("logistic", "classes", {"graph": 3.0, "ridge": 0.2}),
    "hinge graph": ("hinge", "classes", {"graph": 3.0, "ridge": 0.2}),
    "squared hinge groups": (
        "squared_hinge",
        "classes",
        {"norm": "groups", "strength": 2.0, "ridge": 0.1},
    ),
    "logistic relation": ("logistic", "classes", {"norm": "squared_trace", "strength": 0.5}),
    "squared relation": (
        "squared",
        "numbers",
        {"norm": "squared_trace", "strength": 2.0, "ridge": 0.3},
    ),
}

GROUPS = [0, 0, 0, 1, 1, 2, 2]
OPPOSED = 7


def planted(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three groups of tasks, one task opposed to the first: features, targets, task."""
    rng = np.random.default_rng(seed)
    count, width = 60, 20
    base, _ = np.linalg.qr(rng.normal(size=(width, 3)))
    weights = np.stack([base[:, g] for g in GROUPS] + [-base[:, 0]])
    weights = 3 * (weights + 0.1 * rng.normal(size=weights.shape) / np.sqrt(width))
    task = np.repeat(np.arange(len(weights)), count)
    features = rng.normal(size=(len(task), width))
    noisy = np.sum(features * weights[task], 1) + 0.5 * rng.normal(size=len(task))
    return features, noisy > 0, task
