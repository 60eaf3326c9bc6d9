"""Random weights."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_choice
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.keys import keyed
from mtljax.weighting.common.preference import SCALES, equal_weights


class RandomState(NamedTuple):
    """The words of a PRNG key: uint32 ``[2]`` for JAX's default generator."""

    key: jax.Array


def random(seed: int | jax.Array = 0, scale: str = "mean") -> Weighting:
    """Softmax of standard normal numbers, drawn at each step.

    Lin, Ye, Zhang and Tsang, "Reasonable Effectiveness of Random Weighting", TMLR 2022, arXiv
    2111.10603. The key is in the state, so that a resumed run draws the same weights.

    Signals: ``losses``. State: `RandomState`, a key.

    | input | weights |
    |---|---|
    | m tasks present | positive, they sum to 1 (``'mean'``) or m (``'sum'``) |
    | one task | 1 |
    | any finite losses | do not matter |
    | NaN or infinite loss | equal weights of the others; the key stays |

    When to use: as the baseline that a learned weighting has to beat; or in place of `equal`, where
    noise in the weights should keep the model from settling early.

    Args:
      seed: an integer, or a JAX PRNG key.
      scale: ``'mean'`` or ``'sum'``.

    Returns:
      A loss-only `Weighting` with a `RandomState`.

    Raises:
      TypeError: the seed is neither integer nor key.
      ValueError: another scale, or more than one key.

    >>> method = random(seed=3)
    >>> weights, state = method.update(jnp.ones(1), method.init(1))
    >>> weights
    Array([1.], dtype=float32)
    """
    check_choice("scale", scale, SCALES)
    start, draw = keyed(seed)

    def init(num_tasks):
        del num_tasks
        return RandomState(start())

    def update(losses, state, *, present):
        key, words = draw(state.key)
        shares = jnp.where(present, jnp.exp(jax.random.normal(key, losses.shape, losses.dtype)), 0)
        weights = shares / jnp.maximum(jnp.sum(shares), jnp.finfo(shares.dtype).tiny)
        if scale == "sum":
            weights = weights * jnp.sum(present)
        return weights, RandomState(words)

    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, scale),
        ahead=True,
    )
