"""Features of n samples, dense or sparse, and products of them with the weights of T tasks."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("rows", "columns", "values"),
    meta_fields=("shape",),
)
@dataclass(frozen=True)
class SparseFeatures:
    """The entries of a sparse matrix ``[n, d]`` that are not zero, sorted by row.

    Attributes:
      rows: ``[E]`` integers, ascending.
      columns: ``[E]`` integers.
      values: ``[E]``, floating point.
      shape: n and d.
    """

    rows: Any
    columns: Any
    values: Any
    shape: tuple[int, int]


Features = jax.Array | np.ndarray | SparseFeatures


def from_scipy(matrix: Any, dtype: Any = np.float32) -> SparseFeatures:
    """`SparseFeatures` of a sparse matrix of SciPy, such as scikit-learn's vectorizers return.

    Args:
      matrix: ``[n, d]``, in any sparse format.
      dtype: of the values.

    >>> import scipy.sparse
    >>> from_scipy(scipy.sparse.csr_matrix([[0.0, 2.0], [1.0, 0.0]])).columns
    array([1, 0], dtype=int32)
    """
    entries = matrix.tocsr().tocoo()
    return SparseFeatures(
        entries.row.astype(np.int32),
        entries.col.astype(np.int32),
        entries.data.astype(dtype),
        (int(matrix.shape[0]), int(matrix.shape[1])),
    )


def scores(features: Features, weights: jax.Array, task: jax.Array) -> jax.Array:
    """The inner product of each sample with the weights of its own task.

    Args:
      features: ``[n, d]``.
      weights: ``[T, d]``.
      task: ``[n]`` integers.

    Returns:
      ``[n]``.
    """
    if not isinstance(features, SparseFeatures):
        return jnp.take_along_axis(features @ weights.T, task[:, None], axis=1)[:, 0]
    # One flat table: a gather of numbers, where one of rows would have copied weights.
    count, width = features.shape
    flat = task[features.rows] * width + features.columns
    products = features.values * jnp.take(weights.reshape(-1), flat, mode="clip")
    return jax.ops.segment_sum(products, features.rows, count, indices_are_sorted=True)


def summed(
    features: Features, coefficients: jax.Array, task: jax.Array, num_tasks: int
) -> jax.Array:
    """The sum of each task's samples, times their coefficients: the transpose of `scores`.

    Args:
      features: ``[n, d]``.
      coefficients: ``[n]``.
      task: ``[n]`` integers.
      num_tasks: T.

    Returns:
      ``[T, d]``.
    """
    if not isinstance(features, SparseFeatures):
        by_task = jnp.where(task == jnp.arange(num_tasks)[:, None], coefficients, 0)
        return by_task @ features
    width = features.shape[1]
    flat = task[features.rows] * width + features.columns
    values = features.values * coefficients[features.rows]
    return jnp.zeros(num_tasks * width, values.dtype).at[flat].add(values).reshape(-1, width)
