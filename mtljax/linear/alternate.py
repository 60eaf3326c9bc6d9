"""Linear models whose relation is learned by turns with them: clusters of tasks, a task graph."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from mtljax.linear.features import Features
from mtljax.linear.fit import Solution
from mtljax.linear.omega import Omega
from mtljax.linear.path import compiled_fit

_ROUNDS = 50


class Clustered(NamedTuple):
    """Linear models, and the cluster of each task.

    Attributes:
      solution: the models; the gap is to the best models with these clusters.
      clusters: ``[T]`` integers, the first task's 0, and so on in the order of the tasks.
      rounds: how often clusters were looked for.
    """

    solution: Solution
    clusters: np.ndarray
    rounds: int


class Graph(NamedTuple):
    """Linear models, and a graph of their tasks.

    Attributes:
      solution: the models; the gap is to the best models with this graph.
      edges: ``[T, T]``, symmetric, 0 on the diagonal; above 0 for tasks with like weights, below 0
        for opposed ones, 0 for unrelated ones. The absolute values of the pairs add up to T.
      rounds: how often edges were looked for.
    """

    solution: Solution
    edges: np.ndarray
    rounds: int


def fit_clusters(
    features: Features,
    targets: ArrayLike,
    task: ArrayLike,
    *,
    num_tasks: int,
    num_clusters: int,
    ridge: float,
    strength: float,
    **options: Any,
) -> Clustered:
    r"""Learns models of T tasks together with clusters of tasks with like weights.

    :math:`\frac{r}{2} \lVert W \rVert_F^2 + \frac{s}{2} \sum_t \lVert w_t - m_{c(t)} \rVert^2` with
    m the mean of a cluster, as of Jacob, Bach and Vert, "Clustered Multi-Task Learning: a Convex
    Formulation" (2009), minimized by turns over weights and, by k-means, over clusters (Zhou, Chen
    and Ye, "Clustered Multi-Task Learning via Alternating Structure Optimization", 2011). It ends
    where neither lowers the objective, which need not be the least.

    Args:
      features: as of `fit`, as are `targets`, `task` and `num_tasks`.
      targets: ``[n]``.
      task: ``[n]``.
      num_tasks: T.
      num_clusters: between 1 and T.
      ridge: r, above 0.
      strength: s, 0 or more.
      **options: of `fit`.

    Returns:
      `Clustered`.

    Raises:
      ValueError: as `fit`; a number out of its range.
    """
    if not 1 <= num_clusters <= num_tasks:
        raise ValueError(f"num_clusters must be in [1, {num_tasks}], got {num_clusters}")
    if not (ridge > 0 and strength >= 0):
        raise ValueError(f"ridge must be above 0, strength 0 or more, got {ridge}, {strength}")

    def matrix(clusters: np.ndarray) -> np.ndarray:
        same = np.equal.outer(clusters, clusters)
        return strength * (np.eye(num_tasks) - same / same.sum(1))

    # The search begins with weights that know nothing of each other.
    alone = np.zeros((num_tasks, num_tasks))
    arguments = (features, targets, task)
    options = {**options, "num_tasks": num_tasks}
    solution, clusters, rounds = _by_turns(
        lambda relation, start: compiled_fit(
            *arguments, omega=Omega(ridge=ridge, relation=relation), start=start, **options
        ),
        lambda weights: _k_means(weights, num_clusters),
        matrix,
        alone,
    )
    return Clustered(solution, clusters, rounds)


def fit_graph(
    features: Features,
    targets: ArrayLike,
    task: ArrayLike,
    *,
    num_tasks: int,
    ridge: float,
    strength: float,
    spread: float,
    **options: Any,
) -> Graph:
    r"""Learns models of T tasks together with a graph of tasks with like or opposed weights.

    :math:`\frac{r}{2} \lVert W \rVert_F^2 + \frac{s}{2} \sum_{i<j} \left( |A_{ij}| \lVert w_i -
    \operatorname{sign}(A_{ij}) w_j \rVert^2 + \gamma A_{ij}^2 \right)` over weights and edges whose
    absolute values add up to T, by turns: for given weights the best edges are a projection onto a
    simplex (Nie, Wang and Huang, "Clustering and Projected Clustering with Adaptive Neighbors",
    2014, for all pairs at once, and with signs). It ends where neither lowers the objective, which
    need not be the least.

    Args:
      features: as of `fit`, as are `targets`, `task` and `num_tasks`.
      targets: ``[n]``.
      task: ``[n]``.
      num_tasks: T, 2 or more.
      ridge: r, above 0.
      strength: s, 0 or more.
      spread: gamma, above 0: the larger, the more pairs have an edge.
      **options: of `fit`.

    Returns:
      `Graph`.

    Raises:
      ValueError: as `fit`; a number out of its range.
    """
    if num_tasks < 2:
        raise ValueError(f"num_tasks must be 2 or more, got {num_tasks}")
    if not (ridge > 0 and strength >= 0 and spread > 0):
        raise ValueError(
            "ridge and spread must be above 0, strength 0 or more, got "
            f"{ridge}, {spread}, {strength}"
        )

    def laplacian(edges: np.ndarray) -> np.ndarray:
        return strength * (np.diag(np.abs(edges).sum(1)) - edges)

    arguments = (features, targets, task)
    options = {**options, "num_tasks": num_tasks}
    solution, edges, rounds = _by_turns(
        lambda relation, start: compiled_fit(
            *arguments, omega=Omega(ridge=ridge, relation=relation), start=start, **options
        ),
        lambda weights: best_edges(weights, spread),
        laplacian,
        np.zeros((num_tasks, num_tasks)),
    )
    return Graph(solution, edges, rounds)


def best_edges(weights: ArrayLike, spread: float) -> np.ndarray:
    """The edges ``[T, T]`` that suit weights ``[T, d]``, as of `fit_graph`."""
    weights = np.asarray(weights, np.float64)
    products = weights @ weights.T
    lengths = np.diag(products)
    # The nearer of the two: a task and another, or a task and what another wants least.
    distances = np.maximum(lengths[:, None] + lengths - 2 * np.abs(products), 0)
    upper = np.triu_indices(len(weights), 1)
    sizes = _onto_simplex(-distances[upper] / (2 * spread), len(weights))
    edges = np.zeros_like(products)
    edges[upper] = sizes * np.where(products[upper] < 0, -1, 1)
    return edges + edges.T


def _onto_simplex(values: np.ndarray, total: float) -> np.ndarray:
    """The nearest numbers that are 0 or more and add up to a total."""
    ordered = np.sort(values)[::-1]
    thresholds = (np.cumsum(ordered) - total) / np.arange(1, len(values) + 1)
    return np.maximum(values - thresholds[np.nonzero(ordered > thresholds)[0][-1]], 0)


def _by_turns(
    fit: Callable[[np.ndarray, Solution | None], Solution],
    look: Callable[[jax.Array], np.ndarray],
    matrix: Callable[[np.ndarray], np.ndarray],
    first: np.ndarray,
) -> tuple[Solution, np.ndarray, int]:
    """Fits weights, looks for a relation, and so on until the relation stays."""
    solution = fit(first, None)
    relation = look(solution.weights)
    rounds, settled = 0, False
    while not settled and rounds < _ROUNDS:
        rounds += 1
        solution = fit(matrix(relation), solution)
        found = look(solution.weights)
        settled = np.allclose(found, relation, rtol=0, atol=1e-3)
        relation = relation if settled else found
    return solution, relation, rounds


def _k_means(weights: jax.Array, count: int) -> np.ndarray:
    """Clusters ``[T]`` of rows, from first means that are far from each other (Gonzalez 1985)."""
    rows = np.asarray(weights, np.float64)
    means = rows[:1]
    for _ in range(count - 1):
        apart = np.min(np.sum((rows[:, None] - means) ** 2, -1), 1)
        means = np.concatenate([means, rows[[np.argmax(apart)]]])
    clusters = np.zeros(len(rows), int)
    for _ in range(_ROUNDS):
        nearest = np.argmin(np.sum((rows[:, None] - means) ** 2, -1), 1)
        means = np.stack(
            [rows[nearest == c].mean(0) if (nearest == c).any() else means[c] for c in range(count)]
        )
        if np.array_equal(nearest, clusters):
            break
        clusters = nearest
    _, firsts, inverse = np.unique(clusters, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[inverse]
