"""The states that metrics accumulate, how they merge, and the figures that they hold."""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike


class Mean(NamedTuple):
    """``total / count``; 0 where nothing was counted."""

    total: ArrayLike
    count: ArrayLike


class Perplexity(NamedTuple):
    """``exp(total / count)`` of a sum of negative log likelihoods in nats; 1 if nothing counted."""

    total: ArrayLike
    count: ArrayLike


class F1(NamedTuple):
    """Harmonic mean of precision and recall, from counts; 0 where nothing was counted."""

    true_positives: ArrayLike
    predicted: ArrayLike
    actual: ArrayLike


class MacroF1(NamedTuple):
    """Mean of the `F1` of the classes, the last axis; a class without any count has 0."""

    true_positives: ArrayLike
    predicted: ArrayLike
    actual: ArrayLike


State = Mean | Perplexity | F1 | MacroF1
"""A metric state: sums that `merge` adds and `compute` turns into a value."""
S = TypeVar("S", Mean, Perplexity, F1, MacroF1)


def merge(a: S, b: S) -> S:
    """Adds two states of the same metric; associative and commutative.

    The numbers may be JAX arrays, NumPy arrays or Python numbers. Arrays are added in float64 on
    the host, which waits for them: a count in float32 stays at 2^24 when ones are added. Under
    `jax.jit` they are added in their own dtype: merge there no more than that.

    Raises:
      TypeError: the states are of different kinds.

    >>> merge(Mean(1.0, 2.0), Mean(3.0, 2.0))
    Mean(total=4.0, count=4.0)
    """
    if type(a) is not type(b):
        raise TypeError(f"cannot merge {type(a).__name__} with {type(b).__name__}")
    return jax.tree.map(_sum, a, b)


def _sum(a: ArrayLike, b: ArrayLike) -> ArrayLike:
    numbers = isinstance(a, int | float) and isinstance(b, int | float)
    if numbers or not (_on_host(a) and _on_host(b)):
        return a + b  # pyright: ignore[reportOperatorIssue]
    return np.asarray(a, np.float64) + np.asarray(b, np.float64)


def _on_host(value: ArrayLike) -> bool:
    """Whether the host can read a value: it is not traced, and no other process has parts of it."""
    if isinstance(value, Tracer):
        return False
    return not isinstance(value, jax.Array) or value.is_fully_addressable


def compute(state: State) -> jax.Array:
    """Returns the figure of a state: a scalar, or an array if the state holds arrays.

    Raises:
      TypeError: not a state of this package.

    >>> compute(Perplexity(0.0, 5.0))
    Array(1., dtype=float32, weak_type=True)
    """
    match state:
        case Mean(total, count):
            return _ratio(total, count)
        case Perplexity(total, count):
            return jnp.exp(_ratio(total, count))
        case F1(true_positives, predicted, actual):
            return _ratio(2 * jnp.asarray(true_positives), jnp.add(predicted, actual))
        case MacroF1(true_positives, predicted, actual):
            per_class = _ratio(2 * jnp.asarray(true_positives), jnp.add(predicted, actual))
            return jnp.mean(per_class, axis=-1)
    raise TypeError(f"state must be Mean, Perplexity, F1 or MacroF1, got {type(state).__name__}")


def _ratio(total: ArrayLike, count: ArrayLike) -> jax.Array:
    empty = jnp.equal(count, 0)
    return jnp.where(empty, 0.0, jnp.divide(total, jnp.where(empty, 1, count)))


def counted(values: jax.Array, weights: ArrayLike | None, name: str) -> tuple[jax.Array, jax.Array]:
    """Returns the weighted sum of values and the sum of weights; values at weight 0 are ignored.

    `name` is what the values are made of, for the error about shapes.
    """
    dtype = jnp.promote_types(values.dtype, jnp.float32)
    shares = jnp.ones(values.shape, dtype) if weights is None else jnp.asarray(weights, dtype)
    if shares.shape != values.shape:
        raise ValueError(
            f"weights must have the shape of {name}, {values.shape}, got {shares.shape}"
        )
    return jnp.sum(shares * jnp.where(shares != 0, values, 0).astype(dtype)), jnp.sum(shares)


def class_ids(name: str, values: ArrayLike) -> jax.Array:
    """Returns class ids; TypeError unless they are integers or booleans.

    Integers of less than 32 bits are widened: -1 is 255 in uint8, which is a class.
    """
    array = jnp.asarray(values)
    if not (jnp.issubdtype(array.dtype, jnp.integer) or array.dtype == jnp.bool_):
        raise TypeError(f"{name} must be class ids (integer or boolean), got {array.dtype}")
    narrow = array.dtype != jnp.bool_ and array.dtype.itemsize < 4
    return array.astype(jnp.int32) if narrow else array


def check_same_shape(predictions: jax.Array, targets: jax.Array) -> None:
    """Raises ValueError unless targets have the shape of predictions."""
    if predictions.shape != targets.shape:
        raise ValueError(
            f"targets must have the shape of predictions, {predictions.shape}, got {targets.shape}"
        )
