"""Checks of rank, shape and dtype, made while tracing: they cost nothing in a compiled step."""

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike


def as_float(name: str, values: ArrayLike) -> jax.Array:
    """Returns floating point `values` in float32 or wider; TypeError for any other dtype."""
    array = jnp.asarray(values)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} must be floating point, got {array.dtype}")
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def as_real(name: str, values: ArrayLike, dtype: jnp.dtype) -> jax.Array:
    """Returns real numbers, integers or booleans in `dtype`; TypeError for complex values."""
    array = jnp.asarray(values)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got {array.dtype}")
    return array.astype(dtype)


def as_classes(name: str, values: ArrayLike) -> jax.Array:
    """Returns class ids in 32 bits or more; TypeError unless they are integers.

    A number of classes need not fit the dtype of their ids: 256 is 0 in uint8, and ids below it
    would be outside.

    >>> as_classes("targets", jnp.array([255], jnp.uint8)) < 256
    Array([ True], dtype=bool)
    """
    array = jnp.asarray(values)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} must be integer class ids, got {array.dtype}")
    return array if array.dtype.itemsize >= 4 else array.astype(jnp.int32)


def check_shape(name: str, array: jax.Array, shape: tuple[int, ...], meaning: str) -> None:
    """Raises ValueError unless `array` has `shape`; `meaning` says where that shape is from."""
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape} ({meaning}), got {array.shape}")


def check_interval(
    name: str, value: ArrayLike, low: float, high: float, *, open_ends: bool = False
) -> None:
    """Raises ValueError unless the scalar is in [low, high), or (low, high) with `open_ends`.

    A traced value (an injected hyperparameter) cannot be looked at and passes.
    """
    if isinstance(value, Tracer):
        return
    number = float(value)  # pyright: ignore[reportArgumentType]
    if not ((low < number if open_ends else low <= number) and number < high):
        bracket = "(" if open_ends else "["
        raise ValueError(f"{name} must be in {bracket}{low}, {high}), got {number}")


def nan_outside(losses: jax.Array, targets: jax.Array, num_classes: int) -> jax.Array:
    """Turns the loss of a target outside [0, num_classes) into NaN, with a zero gradient.

    A wrong label must not count as another class; with weight 0 in `weighted_mean` it is ignored.
    """
    return jnp.where((targets >= 0) & (targets < num_classes), losses, jnp.nan)
