"""The penalty ``Omega(W)`` of the weights ``[T, d]`` of T linear tasks."""

import functools
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mtljax.linear.norms import NORMS


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("ridge", "relation", "strength"),
    meta_fields=("norm",),
)
@dataclass(frozen=True)
class Omega:
    r"""A quadratic form over tasks, and a norm or the square of one.

    :math:`\Omega(W) = \frac12 \operatorname{tr} W^\top (r I + R) W + \lambda \lVert W \rVert`.

    Attributes:
      ridge: r, 0 or more.
      relation: R ``[T, T]``, symmetric, with ``r I + R`` positive semi-definite; None for zeros.
      strength: lambda, 0 or more.
      norm: 'l1', the sum of absolute values; 'groups', the sum over features of the length of their
        T weights; 'trace', the sum of the singular values; 'squared_trace', half the square of
        that; 'none'.
    """

    ridge: Any = 0.0
    relation: Any = None
    strength: Any = 0.0
    norm: Literal["none", "l1", "groups", "trace", "squared_trace"] = "none"

    def matrix(self, num_tasks: int, dtype: Any) -> jax.Array:
        """The matrix ``r I + R`` ``[T, T]`` of the quadratic form."""
        matrix = jnp.asarray(self.ridge, dtype) * jnp.eye(num_tasks, dtype=dtype)
        return matrix if self.relation is None else matrix + jnp.asarray(self.relation, dtype)

    def value(self, weights: jax.Array) -> jax.Array:
        """The penalty of ``weights`` ``[T, d]``: a scalar."""
        matrix = self.matrix(weights.shape[0], weights.dtype)
        norm = NORMS[self.norm].value(weights, jnp.asarray(self.strength, weights.dtype))
        return jnp.sum((matrix @ weights) * weights) / 2 + norm


def l2(strength: ArrayLike) -> Omega:
    """Half the squared norm, as of ridge regression: no task knows of another."""
    return Omega(ridge=strength)


def l1(strength: ArrayLike, ridge: ArrayLike = 0.0) -> Omega:
    """The sum of absolute values; with `ridge` the elastic net (Zou and Hastie 2005)."""
    return Omega(ridge=ridge, strength=strength, norm="l1")


def task_groups(strength: ArrayLike, ridge: ArrayLike = 0.0) -> Omega:
    """L2,1: tasks choose features together (Obozinski, Taskar and Jordan 2006)."""
    return Omega(ridge=ridge, strength=strength, norm="groups")


def trace_norm(strength: ArrayLike, ridge: ArrayLike = 0.0) -> Omega:
    """The sum of singular values: tasks share a low-rank factor (Argyriou et al. 2008)."""
    return Omega(ridge=ridge, strength=strength, norm="trace")


def mean_regularized(own: float, shared: float, num_tasks: int) -> Omega:
    r"""Weights :math:`w_t = w_0 + v_t` of a shared and an own part (Evgeniou and Pontil 2004).

    The penalty :math:`\frac12 (s \lVert w_0 \rVert^2 + o \sum_t \lVert v_t \rVert^2)`, minimized
    over the parts: the features of Daume, "Frustratingly Easy Domain Adaptation" (2007), which
    copies every feature once for all tasks and once for each.

    Args:
      own: o, above 0, on what a task has for itself.
      shared: s, above 0, on what all have in common.
      num_tasks: T.

    Raises:
      ValueError: a factor is not above 0.
    """
    if not (own > 0 and shared > 0):
        raise ValueError(f"own and shared must be above 0, got {own} and {shared}")
    # The inverse of 1/s for every pair of tasks plus 1/o for a task with itself.
    ones = np.ones((num_tasks, num_tasks))
    return Omega(ridge=own, relation=-(own**2) / (shared + own * num_tasks) * ones)


def graph_laplacian(adjacency: ArrayLike, strength: float, ridge: float) -> Omega:
    r"""Related tasks have like weights.

    :math:`\frac{s}{2} \sum_{i<j} A_{ij} \lVert w_i - w_j \rVert^2`: Evgeniou, Micchelli and
    Pontil, "Learning Multiple Tasks with Kernel Methods", JMLR 2005.

    Args:
      adjacency: A ``[T, T]``, symmetric, 0 or more: how much two tasks are related.
      strength: s.
      ridge: r of an `l2` besides.

    Raises:
      ValueError: an adjacency that is not square, symmetric and 0 or more.
    """
    edges = np.asarray(adjacency, np.float64)
    if edges.ndim != 2 or edges.shape[0] != edges.shape[1]:
        raise ValueError(f"adjacency must be [T, T], got shape {edges.shape}")
    if (edges < 0).any() or not np.array_equal(edges, edges.T):
        raise ValueError("adjacency must be symmetric, and 0 or more")
    edges = edges - np.diag(np.diag(edges))
    return Omega(ridge=ridge, relation=strength * (np.diag(edges.sum(0)) - edges))
