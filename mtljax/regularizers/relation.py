"""A relation of tasks that is learned with their parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.regularizers.distances import stacked_leaves

_ROUNDING = 1e-6


def learned_relation(params: Mapping[str, Any] | Sequence[Any]) -> jax.Array:
    r"""Half the square of the trace norm of the parameters ``W [T, P]`` of T tasks.

    Zhang and Yeung, "A Convex Formulation for Learning Task Relationships in Multi-Task Learning",
    UAI 2010: :math:`\frac12 \operatorname{tr} W^\top \Sigma^{-1} W` at the best covariance
    :math:`\Sigma` of trace 1, which `task_covariance` gives. Like tasks draw each other's
    parameters together, opposed ones apart, unrelated ones not at all: of equal parameters it is
    their `l2`, of orthogonal ones of one length T times that.

    It is computed from inner products of tasks ``W W^T``, to which 1e-6 of their mean square is
    added, so that it has a gradient where tasks are alike.

    Args:
      params: for each task a tree of floating point arrays, all of one structure and shape.

    Returns:
      A scalar, float32 or wider; 0 for no task.

    Raises:
      TypeError: a leaf is not floating point.
      ValueError: trees or shapes differ.

    >>> learned_relation([jnp.array([3.0, 0.0]), jnp.array([0.0, 4.0])]).round(3)
    Array(24.5, dtype=float32)
    """
    gram = _gram(params)
    if not gram.size:
        return jnp.zeros((), jnp.float32)
    mean = jax.lax.stop_gradient(jnp.trace(gram)) / len(gram)
    floor = jnp.maximum(_ROUNDING * mean, jnp.finfo(gram.dtype).tiny ** 0.5)
    values = jnp.linalg.eigvalsh(gram + floor * jnp.eye(len(gram), dtype=gram.dtype))
    return jnp.square(jnp.sum(jnp.sqrt(jnp.maximum(values, floor)))) / 2


def task_covariance(params: Mapping[str, Any] | Sequence[Any]) -> jax.Array:
    r"""The covariance of tasks that suits their parameters best.

    :math:`(W W^\top)^{1/2} / \operatorname{tr} (W W^\top)^{1/2}`: Zhang and Yeung, UAI 2010.

    Args:
      params: as of `learned_relation`.

    Returns:
      ``[T, T]``, positive semi-definite, of trace 1; zeros if all parameters are.

    Raises:
      TypeError: a leaf is not floating point.
      ValueError: trees or shapes differ.

    >>> task_covariance([jnp.array([1.0, 1.0]), jnp.array([-1.0, -1.0])])
    Array([[ 0.5, -0.5],
           [-0.5,  0.5]], dtype=float32)
    """
    gram = _gram(params)
    if not gram.size:
        return gram
    values, vectors = jnp.linalg.eigh(gram)
    roots = jnp.sqrt(jnp.maximum(values, 0))
    total = jnp.sum(roots)
    return (vectors * (roots / jnp.where(total > 0, total, 1))) @ vectors.T


def _gram(params: Mapping[str, Any] | Sequence[Any]) -> jax.Array:
    """Inner products ``[T, T]`` of the parameters of tasks."""
    gram = jnp.zeros((len(params), len(params)), jnp.float32)
    for stacked in stacked_leaves(params):
        flat = stacked.reshape(len(params), -1)
        gram = gram + flat @ flat.T
    return gram
