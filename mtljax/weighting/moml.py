"""MOML: weights that lower every validation loss after a step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.solvers import unit_gramian
from mtljax.solvers.min_norm import min_norm
from mtljax.weighting.common.adam import AdamState, adam_init, adam_step
from mtljax.weighting.common.arguments import check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard


class MOMLState(NamedTuple):
    """The logits ``[T]`` of the weights, and the Adam state that moves them."""

    logits: jax.Array
    adam: AdamState

    @property
    def weights(self) -> jax.Array:
        """The weights ``[T]`` with which the inner step is made, where all tasks are present."""
        return jax.nn.softmax(self.logits)


def moml(outer_lr: float | jax.Array = 1e-3) -> Weighting:
    r"""Learns the weights by a multi-objective step on the validation losses.

    Ye, Lin, Yue, Guo, Xiao and Zhang, "Multi-Objective Meta Learning", NeurIPS 2021. The weights
    are :math:`w = \mathrm{softmax}(\xi)`. After the inner step
    :math:`\theta' = \theta - \eta \sum_j w_j g_j`, validation loss t has the gradient

    .. math:: a_t = -\eta \, C_t (\mathrm{diag}(w) - w w^\top), \quad
              C_{ti} = \langle v_t, g_i \rangle

    with respect to :math:`\xi`, where :math:`v_t` is its gradient at :math:`\theta'`. The shortest
    convex combination of the unit vectors :math:`a_t / |a_t|` lowers all of them, and Adam follows
    it. The weights of the step are the new ones. Exact for one inner step; :math:`\eta` cancels in
    the unit vectors and is left out.

    Signals: ``validation_gradients``, C: products of the validation gradients at :math:`\theta'`,
    which the inner step reaches with ``state.weights``, and the training gradients at
    :math:`\theta`. State: `MOMLState`. Weights sum to 1.

    | input | weights |
    |---|---|
    | one task | 1 |
    | products of 0; identical training gradients | unchanged but for Adam's momentum |
    | a validation gradient of 0, or validation losses in full conflict, to rounding | likewise |
    | a product that is not finite | the current weights of the other tasks, not scaled up |

    When to use: in place of `auto_lambda`, where no validation loss may be sacrificed for the
    others.

    Args:
      outer_lr: Adam's learning rate for the logits, positive.

    Returns:
      A `Weighting` with a `MOMLState`.

    Raises:
      ValueError: outer_lr not positive and finite.

    >>> method = moml(outer_lr=0.1)
    >>> products = jnp.array([[2.0, -1.0], [1.0, 0.0]])
    >>> _, state = method.update(jnp.ones(2), method.init(2), validation_gradients=products)
    >>> state.logits.round(4)
    Array([ 0.1, -0.1], dtype=float32)
    """
    check_positive("outer_lr", outer_lr)

    def init(num_tasks):
        return MOMLState(jnp.zeros(num_tasks), adam_init(num_tasks))

    def weigh(logits, present):
        shares = jax.nn.softmax(jnp.where(present, logits, -1e30))
        return jnp.where(present, shares, 0)

    def update(losses, state, *, present, validation_gradients):
        del losses
        weights = weigh(state.logits, present)
        products = _unit_size(validation_gradients)
        means = products @ weights
        gradients = _unit_size(-weights * (products - means[:, None]))
        unit = unit_gramian(gradients @ gradients.T)
        shares = min_norm(unit.cosines, (unit.norms > 0).astype(unit.norms.dtype), present)
        inverse = jnp.where(unit.norms > 0, 1 / jnp.where(unit.norms > 0, unit.norms, 1), 0)
        direction = (shares * inverse) @ gradients
        # Adam would magnify the rounding of a combination of unit vectors that is 0.
        noise = 4 * gradients.shape[0] * jnp.finfo(gradients.dtype).eps
        direction = jnp.where(jnp.sum(direction**2) > noise, direction, 0)
        step, adam = adam_step(direction, state.adam, outer_lr)
        logits = state.logits + step
        return weigh(logits, present), MOMLState(logits, adam)

    return guard(
        init,
        update,
        fallback=lambda state, counted: state.weights,
        requires=("losses", "validation_gradients"),
        per_task=("logits", "adam"),
    )


def _unit_size(matrix: jax.Array) -> jax.Array:
    """Divides each row by its largest entry; only directions of rows matter here."""
    largest = jnp.max(jnp.abs(matrix), axis=1, keepdims=True)
    return jnp.where(largest > 0, matrix / jnp.where(largest > 0, largest, 1), 0)
