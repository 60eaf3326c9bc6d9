"""Auto-Lambda: weights that lower the sum of the validation losses after a step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.weighting.common.adam import AdamState, adam_init, adam_step
from mtljax.weighting.common.arguments import check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard


class AutoLambdaState(NamedTuple):
    """The weights ``[T]``, which the inner step uses too, and the Adam state that moves them."""

    weights: jax.Array
    adam: AdamState


def auto_lambda(init: float = 0.1, outer_lr: float | jax.Array = 1e-3) -> Weighting:
    r"""Learns the weights by differentiating through one step of gradient descent.

    Liu, James, Davison and Johns, "Auto-Lambda: Disentangling Dynamic Task Relationships", TMLR
    2022, arXiv 2202.03091. With the inner step
    :math:`\theta' = \theta - \eta \sum_j w_j g_j` the sum of the validation losses at
    :math:`\theta'` has the gradient

    .. math:: \partial / \partial w_i = -\eta \sum_t \langle v_t, g_i \rangle,

    where :math:`v_t` is the gradient of validation loss t at :math:`\theta'`. Adam descends along
    it, and the weights of the step are the new ones. That is exact, where the paper approximates
    the same numbers by central differences. The factor :math:`\eta` cancels in Adam and is left
    out.

    Signals: ``validation_gradients``, that is ``C[t, i] = <v_t, g_i>``: products of the validation
    gradients at :math:`\theta'`, which the inner step reaches with ``state.weights``, and the
    training gradients at :math:`\theta`. State: `AutoLambdaState`.

    | input | weights |
    |---|---|
    | first step | `init` + `outer_lr` for a task that helps validation, `init` - `outer_lr` else |
    | a training gradient of 0, products of 0 | unchanged but for Adam's momentum |
    | one task | grows while training helps validation |
    | a task that hurts for long | negative, as in the paper |
    | a product that is not finite | the present weights of the other tasks |

    When to use: some tasks only serve others, and validation data tell which of them help. A step
    then also computes the gradients of a validation batch, after an inner step.

    Args:
      init: first weight of each task, positive.
      outer_lr: Adam's learning rate for the weights, positive.

    Returns:
      A `Weighting` with an `AutoLambdaState`.

    Raises:
      ValueError: an argument not positive and finite.

    >>> method = auto_lambda()
    >>> products = jnp.array([[2.0, -1.0], [1.0, 0.0]])
    >>> method.update(jnp.ones(2), method.init(2), validation_gradients=products)[0]
    Array([0.101, 0.099], dtype=float32)
    """
    check_positive("init", init)
    check_positive("outer_lr", outer_lr)

    def start(num_tasks):
        return AutoLambdaState(jnp.full(num_tasks, init, float), adam_init(num_tasks))

    def update(losses, state, *, present, validation_gradients):
        del losses, present
        limit = jnp.finfo(validation_gradients.dtype).max ** 0.75
        gradient = -jnp.sum(jnp.clip(validation_gradients, -limit, limit), axis=0)
        step, adam = adam_step(gradient, state.adam, outer_lr)
        weights = state.weights + step
        return weights, AutoLambdaState(weights, adam)

    return guard(
        start,
        update,
        fallback=lambda state, counted: state.weights,
        requires=("losses", "validation_gradients"),
        per_task=("weights", "adam"),
    )
