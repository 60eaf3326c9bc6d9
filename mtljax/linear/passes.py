"""The two products that a solver takes of the features, prepared once for many of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.linear.features import Features, SparseFeatures, scores, summed

_LANES = 8


class Passes(NamedTuple):
    """Products of features with what tasks or samples have.

    Attributes:
      scores: ``weights [T, d] -> [n]``, the product of each sample with its own task's weights.
      summed: ``coefficients [n] -> [T, d]``, its transpose.
    """

    scores: Callable[[jax.Array], jax.Array]
    summed: Callable[[jax.Array], jax.Array]


def prepared(features: Features, task: jax.Array, num_tasks: int) -> Passes:
    """The products of features whose samples belong to tasks.

    Args:
      features: ``[n, d]``.
      task: ``[n]`` integers.
      num_tasks: T.
    """
    if not isinstance(features, SparseFeatures):
        return Passes(
            lambda weights: scores(features, weights, task),
            lambda coefficients: summed(features, coefficients, task, num_tasks),
        )
    count, width = features.shape
    rows, values = features.rows, features.values
    places = jnp.asarray(task)[rows] * width + features.columns
    # Sums into one place wait for each other. So scores add up entries that are far apart, of
    # different rows: half the time of sums row by row on a CPU.
    far_rows, far_places = (_spread(x, "edge") for x in (rows, places))
    far_values = _spread(values, "constant")

    def all_scores(weights: jax.Array) -> jax.Array:
        products = far_values * jnp.take(weights.reshape(-1), far_places, mode="clip")
        return jnp.zeros(count, products.dtype).at[far_rows].add(products)

    def all_summed(coefficients: jax.Array) -> jax.Array:
        products = values * jnp.take(coefficients, rows, mode="clip")
        flat = jnp.zeros(num_tasks * width, products.dtype).at[places].add(products)
        return flat.reshape(num_tasks, width)

    return Passes(all_scores, all_summed)


def _spread(entries: jax.Array, mode: str) -> jax.Array:
    """Entries read at several places in turn, filled up at the end."""
    if not entries.size:
        return entries
    filled = jnp.pad(entries, (0, -entries.size % _LANES), mode=mode)
    return filled.reshape(_LANES, -1).T.reshape(-1)
