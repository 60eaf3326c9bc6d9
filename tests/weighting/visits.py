"""The random orders of a step, in which an oracle is to visit the other tasks."""

import jax
import numpy as np

from mtljax.weighting.common.keys import random_orders


def orders(words: jax.Array, num_tasks: int) -> np.ndarray:
    """Of the step that starts with this key: row i is the order of task i, i itself skipped."""
    _, use = jax.random.split(jax.random.wrap_key_data(words))
    return np.asarray(random_orders(use, num_tasks))
