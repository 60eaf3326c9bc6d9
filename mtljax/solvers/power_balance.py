"""The balance of each task's gain against a power of its weight."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from mtljax.solvers.ridge import ridged

_MAX_STEPS = 60


def power_balance(
    cosines: ArrayLike, power: ArrayLike = 1.0, log_coefficients: ArrayLike | None = None
) -> jax.Array:
    r"""Solves :math:`(K y)_i = c_i y_i^{-p}` for :math:`y > 0`.

    The solution is the minimum of the strictly convex
    :math:`y^\top K y / 2 - \sum_i c_i y_i^{1-p} / (1-p)`, for p = 1 with
    :math:`c_i \log y_i` as the barrier. Newton's method finds it in the coordinates
    :math:`\log y`: each step is that of the function in y, as a relative change, and the whole
    Hessian is scaled to a unit diagonal. Far from the end a coordinate moves by a factor of
    :math:`e^3` at most. Some 5 steps are usual, 60 the cap; a step is one Cholesky factorisation of
    ``[T, T]``.

    K is made positive definite first (`ridge.ridged`), so that there is a solution for every K and
    :math:`|d|^2 = y^\top K y \le \sum_i c_i y_i^{1-p}`, where :math:`d` is the sum of the unit
    gradients with the weights y.

    | input | answer |
    |---|---|
    | one task | :math:`c^{1/(1+p)}` |
    | a zero gradient | 0; the others as without it |
    | orthogonal gradients | :math:`c_i^{1/(1+p)}` |
    | opposite or stationary gradients | as large as the ridge allows, d close to 0 |

    Args:
      cosines: ``[T, T]``, as in `UnitGramian`.
      power: p, a positive scalar.
      log_coefficients: :math:`\log c`, ``[T]``; None is c = 1. They are clipped where c would
        make y differ by more than the fourth root of the largest number: 1e9 in float32.

    Returns:
      y, ``[T]``, positive, 0 for zero gradients.

    >>> power_balance(jnp.array([[1.0, 0.6], [0.6, 1.0]])) ** -2
    Array([1.6, 1.6], dtype=float32)
    """
    cosines = jnp.asarray(cosines)
    matrix = ridged(cosines)
    active = jnp.diagonal(cosines) > 0
    size, dtype = cosines.shape[-1], cosines.dtype
    identity = jnp.eye(size, dtype=bool)
    largest = math.log(jnp.finfo(dtype).max)
    p = jnp.asarray(power, dtype)
    logs = jnp.zeros(size, dtype) if log_coefficients is None else jnp.asarray(log_coefficients)
    start = jnp.clip(jnp.where(active, logs, 0) / (1 + p), -largest / 4, largest / 4)
    log_c = (1 + p) * start

    def newton(x: jax.Array) -> jax.Array:
        """Returns the relative step of Newton's method at y = exp(x)."""
        y = jnp.exp(x)
        barrier = jnp.exp(jnp.minimum(log_c - (1 + p) * x, largest / 2))  # c y^(-1-p)
        root = lax.rsqrt(jnp.diagonal(matrix) + p * barrier)
        hessian = jnp.where(identity, 1, matrix * root[:, None] * root)
        gradient = root * (barrier * y - matrix @ y)
        factor = lax.linalg.cholesky(hessian, symmetrize_input=False)
        half = lax.linalg.triangular_solve(factor, gradient[:, None], left_side=True, lower=True)
        solution = lax.linalg.triangular_solve(
            factor, half, left_side=True, lower=True, transpose_a=True
        )[:, 0]
        # Rounding can make the factor fail at the limit of what K resolves: then the diagonal.
        return root * jnp.where(jnp.all(jnp.isfinite(solution)), solution, gradient) / y

    def step(carry: tuple[jax.Array, jax.Array, jax.Array]):
        x, _, count = carry
        s = newton(x)
        length = jnp.max(jnp.abs(s))
        near = jnp.log1p(jnp.maximum(s, -0.5))
        far = jnp.clip(jnp.sign(s) * jnp.log1p(jnp.abs(s)), -3, 3)
        x = jnp.clip(x + jnp.where(length < 0.25, near, far), -largest / 2, largest / 2)
        return x, length, count + 1

    # Newton's method squares the error: after a step of eps^1/2 only rounding is left.
    precise = math.sqrt(jnp.finfo(dtype).eps)
    x, _, _ = lax.while_loop(
        lambda carry: (carry[2] < _MAX_STEPS) & (carry[1] > precise),
        step,
        (start, jnp.asarray(jnp.inf, dtype), jnp.asarray(0)),
    )
    # The best multiple of y is 1 at the solution; short of it, it keeps the bound on |d|.
    y = jnp.where(active, jnp.exp(x), 0)
    pull = jnp.sum(jnp.where(active, jnp.exp(log_c + (1 - p) * x), 0))
    square = y @ matrix @ y
    defined = (square > 0) & (pull > 0) & jnp.isfinite(square) & jnp.isfinite(pull)
    ratio = jnp.where(defined, pull, 1) / jnp.where(defined, square, 1)
    return y * ratio ** (1 / (1 + p))
