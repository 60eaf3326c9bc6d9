"""PSMGD: new weights in every k-th step only."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.weighting.common.arguments import check_count
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard


class Kept(NamedTuple):
    """What is kept between the steps that make new weights.

    Attributes:
      weights: ``[T]``.
      known: bool ``[T]``, whether a task has had a weight.
      wait: int32, steps until new weights are due.
    """

    weights: jax.Array
    known: jax.Array
    wait: jax.Array


class EveryState(NamedTuple):
    """The state of the method inside, and the weights it made last."""

    inner: Any
    kept: Kept


def every(weighting: Weighting, k: int) -> Weighting:
    r"""Updates the weights of a method in every k-th step only.

    Xu, Ju, Liu and Yang, "PSMGD: Periodic Stochastic Multi-Gradient Descent for Fast
    Multi-Objective Optimization", AAAI 2025, arXiv 2412.10961. In the steps between, the weights
    and the state of the method stay, and no signal is read: an engine that calls `needs_gradients`
    can make such a step with one backward pass. Signals may then be anything of the right shape.

    New weights are also due when a task is present that has never had one. The steps to wait are
    in the state: a resumed run updates in the same steps.

    | input | weights |
    |---|---|
    | k = 1 | the method itself is returned |
    | a step that is due | those of the method |
    | between, an absent task | 0; the others keep theirs |
    | a number that is not finite in a step that is due | what the method answers; the next is due |
    | a loss that is not finite between | 0 for that task; the wait is not shortened |

    When to use: the Gramian or the solver dominates a step: many tasks, or a large shared network.
    Put it outside of the other wrappers.

    Args:
      weighting: the method.
      k: 1 or more.

    Returns:
      A `Weighting` that reads the same signals, with an `EveryState` if k > 1.

    Raises:
      TypeError: k not an integer.
      ValueError: k below 1.

    >>> from mtljax.weighting.geometric import geometric
    >>> method = every(geometric(), k=2)
    >>> state = method.init(2)
    >>> for losses in ([1.0, 4.0], [1.0, 1.0], [1.0, 1.0]):
    ...     weights, state = method.update(jnp.array(losses), state)
    ...     print(weights, bool(needs_gradients(state)))
    [1.   0.25] False
    [1.   0.25] True
    [0.5 0.5] False
    """
    k = check_count("k", k)
    if k == 1:
        return weighting

    def init(num_tasks):
        kept = Kept(jnp.zeros(num_tasks), jnp.zeros(num_tasks, bool), jnp.zeros((), jnp.int32))
        return EveryState(weighting.init(num_tasks), kept)

    # The branches of the conditional. They are made once, so that eager steps find them compiled.
    def renew(losses, state, mask, signals):
        weights, inner = weighting.update(losses, state.inner, mask=mask, **signals)

        def keep(losses, kept, *, present, **others):
            del losses, present, others
            wait = jnp.where(kept.wait == 0, k, kept.wait) - 1
            return weights, Kept(weights, jnp.ones_like(kept.known), wait)

        method = guard(
            lambda num_tasks: None,
            keep,
            fallback=lambda kept, counted: weights,
            requires=weighting.requires,
            per_task=("weights", "known"),
        )
        weights, kept = method.update(losses, state.kept, mask=mask, **signals)
        return weights, EveryState(inner, kept)

    def reuse(losses, state, mask, signals):
        del signals

        def keep(losses, kept, *, present):
            del losses, present
            return kept.weights, kept._replace(wait=kept.wait - 1)

        method = guard(
            lambda num_tasks: None,
            keep,
            fallback=lambda kept, counted: kept.weights,
            per_task=("weights", "known"),
        )
        weights, kept = method.update(losses, state.kept, mask=mask)
        return weights, EveryState(state.inner, kept)

    def update(losses, state, *, mask=None, **signals):
        arrays = {name: jnp.asarray(value) for name, value in signals.items() if value is not None}
        mask = None if mask is None else jnp.asarray(mask)
        operands = (jnp.asarray(losses), state, mask, arrays)
        # Traced for its errors about wrong arguments: those of `needs_gradients` would say less.
        jax.eval_shape(reuse, *operands)
        return jax.lax.cond(needs_gradients(state, mask), renew, reuse, *operands)

    return Weighting(init, update, weighting.requires, weighting.ahead)


def needs_gradients(state: Any, mask: ArrayLike | None = None) -> jax.Array:
    """Returns whether the next update reads signals, for an engine to know before a step.

    Args:
      state: of a weighting; if `every` is not its outermost wrapper, each step reads them.
      mask: ``[T]``, boolean, of the coming step; None where all tasks are present.

    Returns:
      A boolean scalar.

    >>> from mtljax.weighting import equal
    >>> needs_gradients(every(equal(), k=2).init(3))
    Array(True, dtype=bool)
    """
    if not isinstance(state, EveryState):
        return jnp.array(True)
    new_tasks = ~state.kept.known
    return (state.kept.wait == 0) | jnp.any(new_tasks if mask is None else new_tasks & mask)
