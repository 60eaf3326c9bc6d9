"""Checks that factories make of their arguments."""

import math

import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike


def check_positive(name: str, value: ArrayLike) -> None:
    """Raises ValueError unless a scalar is positive and finite.

    A traced value passes: `optax.inject_hyperparams` calls factories under jit.
    """
    if isinstance(value, Tracer):
        return
    if jnp.ndim(value) or not 0 < float(value) < math.inf:  # pyright: ignore[reportArgumentType]
        raise ValueError(f"{name} must be a positive finite number, got {value}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
