"""Penalties that draw the parameters of tasks together, or keep their features apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mtljax.regularizers.leaves import float_leaves


def mean_distance(params: Mapping[str, Any] | Sequence[Any]) -> jax.Array:
    r"""Squared distances of tasks from their mean: :math:`\frac12 \sum_t |w_t - \bar w|^2`.

    Evgeniou and Pontil, "Regularized Multi-Task Learning", KDD 2004. Heads that share nothing but
    this, or towers with soft sharing (Duong et al. 2015).

    Args:
      params: for each task a tree of floating point arrays, all of one structure and shape.

    Returns:
      A scalar, float32 or wider; 0 for no task.

    Raises:
      TypeError: a leaf is not floating point.
      ValueError: trees or shapes differ.

    >>> mean_distance([jnp.array([0.0, 2.0]), jnp.array([4.0, 2.0])])
    Array(4., dtype=float32)
    """
    total = jnp.zeros((), jnp.float32)
    for stacked in stacked_leaves(params):
        total = total + jnp.sum(jnp.square(stacked - jnp.mean(stacked, axis=0))) / 2
    return total


def laplacian(params: Mapping[str, Any] | Sequence[Any], adjacency: ArrayLike) -> jax.Array:
    r"""Squared distances of related tasks :math:`\frac12 \sum_{i<j} A_{ij} |w_i - w_j|^2`.

    Evgeniou, Micchelli and Pontil, "Learning Multiple Tasks with Kernel Methods", JMLR 2005. With
    an adjacency of ``1 / T`` everywhere it is `mean_distance`.

    Args:
      params: for each of T tasks a tree of floating point arrays, all of one structure and shape.
      adjacency: A ``[T, T]``, symmetric: how much two tasks are related.

    Returns:
      A scalar, float32 or wider.

    Raises:
      TypeError: a leaf is not floating point.
      ValueError: trees or shapes differ, or an adjacency of another size.
    """
    edges = jnp.asarray(adjacency)
    count = len(params)
    if edges.shape != (count, count):
        raise ValueError(f"adjacency must be [{count}, {count}], got shape {edges.shape}")
    total = jnp.zeros((), jnp.float32)
    for stacked in stacked_leaves(params):
        flat = stacked.reshape(count, -1)
        # Differences, not a product with the Laplacian, which would lose what like tasks differ in.
        squares = jax.lax.map(lambda w, flat=flat: jnp.sum(jnp.square(flat - w), axis=1), flat)
        total = total + jnp.sum(edges * squares) / 4
    return total


def orthogonality(shared: ArrayLike, private: ArrayLike) -> jax.Array:
    r"""How much private features repeat what shared ones say: :math:`\lVert S^\top P \rVert_F^2`.

    Bousmalis et al., "Domain Separation Networks", NeurIPS 2016, equation 5; Liu, Qiu and Huang,
    "Adversarial Multi-task Learning for Text Classification", ACL 2017, equation 10.

    Args:
      shared: ``[B, D]``, the shared features of a batch of texts.
      private: ``[B, E]``, the private features of the same texts.

    Returns:
      A scalar, float32 or wider.

    Raises:
      ValueError: not two matrices of the same number of rows.
    """
    first, second = jnp.asarray(shared), jnp.asarray(private)
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise ValueError(
            f"shared and private must be [B, D] and [B, E], got {first.shape} and {second.shape}"
        )
    dtype = jnp.promote_types(jnp.result_type(first, second), jnp.float32)
    return jnp.sum(jnp.square(first.astype(dtype).T @ second.astype(dtype)))


def stacked_leaves(params: Mapping[str, Any] | Sequence[Any]) -> list[jax.Array]:
    """The leaves of T trees, stacked: ``[T, ...]``, float32 or wider."""
    trees = list(params.values()) if isinstance(params, Mapping) else list(params)
    by_task = [float_leaves(tree) for tree in trees]
    for leaves in by_task:
        shapes, first = (
            {path: np.shape(leaf) for path, leaf in each.items()} for each in (leaves, by_task[0])
        )
        if shapes != first:
            raise ValueError(f"tasks have parameters of other shapes: {first} and {shapes}")
    return [jnp.stack([leaves[path] for leaves in by_task]) for path in (by_task or [{}])[0]]
