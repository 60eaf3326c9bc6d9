"""How much the labels of one task tell about those of another."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class LabelInformation(NamedTuple):
    """What two labels of the same texts tell of each other; scalars.

    Attributes:
      information: mutual information in nats.
      of_first: the share of the first label's entropy that the second takes away, in [0, 1]
        (Theil's uncertainty coefficient); 0 for a label that is always the same.
      of_second: likewise, of the second by the first.
      by_chance: the information that independent labels would show on as many texts, in nats.
    """

    information: jax.Array
    of_first: jax.Array
    of_second: jax.Array
    by_chance: jax.Array


def label_information(
    first: ArrayLike, second: ArrayLike, num_first: int, num_second: int
) -> LabelInformation:
    r"""Mutual information of the labels of two tasks that read the same texts.

    Counts overstate information by about :math:`(K - 1)(L - 1) / 2N` for K and L classes that occur
    on N texts (Miller 1955): what is not well above `by_chance` is none.

    Args:
      first: ``[N]``, classes 0 to `num_first` - 1; less than 0 where a text has none.
      second: ``[N]``, of the same texts.
      num_first: number of classes of the first task.
      num_second: of the second.

    Returns:
      `LabelInformation` over the texts that have both; zeros if there is none.

    >>> label_information([0, 0, 1, 1], [1, 1, 0, 0], 2, 2).of_first
    Array(1., dtype=float32)
    """
    first, second = jnp.asarray(first), jnp.asarray(second)
    both = (first >= 0) & (second >= 0)
    counts = jnp.zeros((num_first, num_second)).at[first, second].add(both)
    size = counts.sum()
    joint = counts / jnp.maximum(size, 1)
    of_first, of_second = _entropy(joint.sum(1)), _entropy(joint.sum(0))
    information = jnp.maximum(of_first + of_second - _entropy(joint), 0)
    occur = [jnp.maximum(jnp.sum(counts.sum(axis) > 0) - 1, 0) for axis in (1, 0)]
    return LabelInformation(
        information,
        information / jnp.where(of_first > 0, of_first, 1),
        information / jnp.where(of_second > 0, of_second, 1),
        occur[0] * occur[1] / (2 * jnp.maximum(size, 1)),
    )


def _entropy(shares: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.where(shares > 0, shares * jnp.log(jnp.where(shares > 0, shares, 1)), 0))
