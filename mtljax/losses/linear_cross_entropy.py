"""Exact softmax cross entropy of a linear layer, without its logits in memory."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mtljax.losses.checks import as_classes, check_shape, nan_outside


def check_linear(
    features: ArrayLike, table: ArrayLike, bias: ArrayLike | None, targets: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array]:
    """Returns features ``[N, D]``, table ``[V, D]``, bias ``[V]`` or None and targets ``[N]``.

    Raises:
      TypeError: features, table or bias not floating point, or class ids not integer.
      ValueError: shapes do not fit.
    """
    arrays = {"features": jnp.asarray(features), "table": jnp.asarray(table)}
    if bias is not None:
        arrays["bias"] = jnp.asarray(bias)
    for name, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{name} must be floating point, got {array.dtype}")
        rank = 1 if name == "bias" else 2
        if array.ndim != rank:
            raise ValueError(f"{name} must have {rank} axes, got shape {array.shape}")
    elements, width = arrays["features"].shape
    num_classes = arrays["table"].shape[0]
    if num_classes < 1:
        raise ValueError("table must have one class or more")
    check_shape("table", arrays["table"], (num_classes, width), "classes, width of features")
    if bias is not None:
        check_shape("bias", arrays["bias"], (num_classes,), "classes of table")
    labels = as_classes("targets", targets)
    check_shape("targets", labels, (elements,), "rows of features")
    return arrays["features"], arrays["table"], arrays.get("bias"), labels


def linear_cross_entropy(
    features: ArrayLike,
    table: ArrayLike,
    bias: ArrayLike | None,
    targets: ArrayLike,
    *,
    chunk: int = 1024,
) -> jax.Array:
    """Equals ``softmax(features @ table.T + bias, targets)`` with ``[chunk, V]`` in memory.

    The N features are taken `chunk` at a time, forward and backward; the backward pass computes the
    logits again. Reverse mode only, once (no Hessians).

    Args:
      features: ``[N, D]``, floating point.
      table: ``[V, D]``, floating point, the output embeddings.
      bias: ``[V]``, floating point, or None.
      targets: class ids ``[N]``, integer. An id outside ``[0, V)`` gives NaN.
      chunk: how many of the N features have their logits in memory at a time.

    Returns:
      Losses ``[N]`` in nats, float32 or wider.

    Raises:
      TypeError: features, table or bias not floating point, or class ids not integer.
      ValueError: shapes do not fit, or `chunk` below 1.

    >>> linear_cross_entropy(jnp.ones((3, 2)), jnp.ones((4, 2)), None, jnp.array([0, 1, 2]))
    Array([1.3862944, 1.3862944, 1.3862944], dtype=float32)
    """
    features, table, bias, targets = check_linear(features, table, bias, targets)
    if operator.index(chunk) < 1:
        raise ValueError(f"chunk must be 1 or more, got {chunk}")
    elements = features.shape[0]
    if not elements:
        return jnp.zeros((0,), jnp.promote_types(jnp.result_type(features, table), jnp.float32))
    if bias is None:
        bias = jnp.zeros(table.shape[:1], jnp.float32)
    size = min(chunk, elements)
    chunks = -(-elements // size)
    pad = chunks * size - elements
    stacked = jnp.pad(features, ((0, pad), (0, 0))).reshape(chunks, size, -1)
    index = jnp.pad(jnp.clip(targets, 0, table.shape[0] - 1), (0, pad)).reshape(chunks, size)
    losses = _chunked(stacked, table, bias, index).reshape(-1)[:elements]
    return nan_outside(losses, targets, table.shape[0])


def _logits(features: jax.Array, table: jax.Array, bias: jax.Array) -> jax.Array:
    dtype = jnp.promote_types(jnp.result_type(features, table), jnp.float32)
    product = jnp.einsum("nd,vd->nv", features, table, preferred_element_type=dtype)
    return product + bias.astype(dtype)


@jax.custom_vjp
def _chunked(
    features: jax.Array, table: jax.Array, bias: jax.Array, targets: jax.Array
) -> jax.Array:
    return _forward(features, table, bias, targets)[0]


def _forward(features, table, bias, targets):
    def step(_, inputs):
        elements, index = inputs
        logits = _logits(elements, table, bias)
        highest = jnp.max(logits, axis=-1)
        log_z = jnp.log(jnp.sum(jnp.exp(logits - highest[:, None]), axis=-1))
        target_logits = jnp.take_along_axis(logits, index[:, None], axis=-1)[:, 0]
        return None, (log_z - (target_logits - highest), log_z + highest)

    _, (losses, log_z) = jax.lax.scan(step, None, (features, targets))
    return losses, (features, table, bias, targets, log_z)


def _backward(residuals, cotangents):
    features, table, bias, targets, log_z = residuals
    contract = functools.partial(jnp.einsum, preferred_element_type=log_z.dtype)

    def step(sums, inputs):
        elements, index, element_log_z, scale = inputs
        logits = _logits(elements, table, bias)
        logit_grads = jnp.exp(logits - element_log_z[:, None]) * scale[:, None]
        logit_grads = logit_grads.at[jnp.arange(logit_grads.shape[0]), index].add(-scale)
        # In the dtype of the operands, as in the backward pass of the plain product.
        cast_grads = logit_grads.astype(jnp.result_type(features, table))
        table_sum = sums[0] + contract("nv,nd->vd", cast_grads, elements)
        bias_sum = sums[1] + jnp.sum(logit_grads, axis=0)
        return (table_sum, bias_sum), contract("nv,vd->nd", cast_grads, table)

    zeros = (jnp.zeros(table.shape, log_z.dtype), jnp.zeros(bias.shape, log_z.dtype))
    sums, feature_grads = jax.lax.scan(step, zeros, (features, targets, log_z, cotangents))
    return (
        feature_grads.astype(features.dtype),
        sums[0].astype(table.dtype),
        sums[1].astype(bias.dtype),
        np.zeros(targets.shape, jax.dtypes.float0),
    )


_chunked.defvjp(_forward, _backward)
