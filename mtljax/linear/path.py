"""A path of penalties, from strong to weak, and the choice among its models."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.linear.features import Features, scores
from mtljax.linear.fit import Solution, fit
from mtljax.linear.omega import Omega

compiled_fit = jax.jit(fit, static_argnames=("num_tasks", "loss", "intercept"))
"""`fit`, compiled once for penalties that differ in their numbers only."""


def fit_path(
    features: Features,
    targets: ArrayLike,
    task: ArrayLike,
    omegas: Sequence[Omega],
    *,
    num_tasks: int,
    **options: Any,
) -> list[Solution]:
    """Fits models with one penalty after the other, each from the solution of the one before.

    Compiled once where the penalties differ in their numbers only.

    Args:
      features: as of `fit`, as are `targets`, `task` and `num_tasks`.
      targets: ``[n]``.
      task: ``[n]``.
      omegas: the penalties, which is fastest from the strongest to the weakest.
      num_tasks: T.
      **options: of `fit`.

    Returns:
      A solution for each penalty.

    Raises:
      ValueError: as `fit`.
    """
    solutions, start = [], options.pop("start", None)
    for omega in omegas:
        arguments = (features, targets, task)
        start = compiled_fit(*arguments, num_tasks=num_tasks, omega=omega, start=start, **options)
        solutions.append(start)
    return solutions


def accuracy(predicted: jax.Array, targets: jax.Array) -> jax.Array:
    """The share of scores ``[n]`` on the side of zero that their targets, 0 and 1, say."""
    return jnp.mean((predicted > 0) == (targets > 0.5))


def best_of(
    solutions: Sequence[Solution],
    features: Features,
    targets: ArrayLike,
    task: ArrayLike,
    measure: Callable[[jax.Array, jax.Array], Any] = accuracy,
) -> int:
    """The solution that does best on samples of validation.

    Args:
      solutions: from `fit_path`.
      features: ``[n, d]``, of validation, as are `targets` and `task`.
      targets: ``[n]``.
      task: ``[n]``.
      measure: ``(scores [n], targets [n]) -> scalar``, the more the better.

    Returns:
      Its index, the first of those that are equally good.
    """
    targets, task = jnp.asarray(targets), jnp.asarray(task)
    values = [
        float(measure(scores(features, s.weights, task) + s.intercept[task], targets))
        for s in solutions
    ]
    return values.index(max(values))
