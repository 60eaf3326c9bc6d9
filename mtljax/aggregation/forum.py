"""FORUM: first-order bilevel optimization with several validation losses."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from optax.experimental import aggregating

from mtljax.aggregation.guard import counted_tasks, guard
from mtljax.aggregation.task_axis import counted_gradients
from mtljax.gradients import combine, cross_gramian, scaled_gramian, scaled_gramian_diagonal
from mtljax.solvers import unit_gramian
from mtljax.solvers.min_norm import min_norm
from mtljax.weighting.common.adam import AdamState, adam_init, adam_step
from mtljax.weighting.common.arguments import check_count, check_positive


class FORUMState(NamedTuple):
    """What is carried from step to step.

    Attributes:
      logits: ``[T]``, of the weights of the training losses.
      adam: moves the logits.
      shares: ``[T]``, the running combination of the validation gradients.
      step: int32.
    """

    logits: jax.Array
    adam: AdamState
    shares: jax.Array
    step: jax.Array

    @property
    def weights(self) -> jax.Array:
        """The weights ``[T]`` of the training losses, where all tasks are present."""
        return jax.nn.softmax(self.logits)


def forum(
    num_tasks: int,
    *,
    phi: float | jax.Array = 0.1,
    lr: float | jax.Array = 1e-3,
    period: int = 1,
) -> aggregating.Aggregator:
    r"""Descends on validation losses under the constraint that training is nearly done.

    Ye, Lin, Yue, Zhang and Tsang, "A First-Order Multi-Gradient Algorithm for Multi-Objective
    Bi-Level Optimization", ECAI 2024. The training objective is
    :math:`f(\xi, \theta) = \sum_i w_i L_i(\theta)`, :math:`w = \mathrm{softmax}(\xi)`. It is nearly
    minimal in :math:`\theta` where :math:`f(\xi, \theta) - f(\xi, \theta_K)` is nearly 0, with
    :math:`\theta_K` reached from :math:`\theta` by a few inner steps and then held constant. Let q
    be the gradient of that difference in :math:`(\xi, \theta)` and :math:`a_t` the gradient of
    validation loss t, divided by its length. The direction lowers all validation losses while the
    difference falls by a share phi of the steepest descent:

    .. math:: \min_d \tfrac12 |d|^2 - \min_t \langle a_t, d \rangle
              \quad \text{s.t.} \quad \langle q, d \rangle \ge \phi |q|^2.

    By duality :math:`d = \sum_t s_t a_t + \nu q` with
    :math:`\nu = \max(\phi - \langle q, \sum_t s_t a_t \rangle / |q|^2, 0)` and s on the simplex.
    The s in use follows the solution by the step size :math:`(1 + e)^{-3/4}`, e the number of
    periods passed. The part of d in :math:`\theta` is returned; the logits :math:`\xi` follow
    theirs by Adam.

    The direction is a combination of two sets of gradients, so this is no weighting. `update`
    takes, besides the training gradients and `losses` at :math:`\theta`,

    - ``validation_grads``: like the training gradients, of the validation losses at
      :math:`\theta`;
    - ``inner_losses [T]``: the training losses, same batch and random keys, at :math:`\theta_K`,
      which the caller reaches by gradient descent on ``sum_i state.weights_i L_i`` (the paper's
      code: 5 steps of size 0.1).

    | input | direction |
    |---|---|
    | one task | a + nu q |
    | training gradients of 0 | the shortest convex combination of the a |
    | a validation gradient of 0 | it takes the share: nu q alone |
    | validation gradients in full conflict | nu q alone |
    | absent task, or one with a number that is not finite | the method on the others |
    | no task left | 0, and the state stays |

    Signals: the gradients, ``losses``, ``validation_grads`` and ``inner_losses``.

    When to use: in place of `auto_lambda` and `moml`, where one inner step says too little about
    the optimum of the training losses.

    Args:
      num_tasks: T.
      phi: share of the steepest descent on the training objective that is kept, positive.
      lr: Adam's learning rate for the logits, positive.
      period: steps after which e grows by 1, for example those of an epoch.

    Returns:
      An Optax aggregator with a `FORUMState`. Its `update` raises ValueError without the keywords
      ``losses``, ``inner_losses`` and ``validation_grads``; ``mask [T]`` is optional.

    Raises:
      TypeError: `period` is no integer.
      ValueError: an option out of range, or no tasks.

    >>> method = forum(1, phi=1.0)
    >>> train, validation = jnp.array([[0.0, 2.0]]), jnp.array([[3.0, 0.0]])
    >>> losses = {"losses": jnp.ones(1), "inner_losses": jnp.ones(1)}
    >>> state = method.init(jnp.zeros(2))
    >>> method.update(train, state, validation_grads=validation, **losses)[0]
    Array([1., 2.], dtype=float32)
    """
    tasks = check_count("num_tasks", num_tasks)
    check_positive("phi", phi)
    check_positive("lr", lr)
    steps = check_count("period", period)

    def init(params: Any) -> FORUMState:
        del params
        shares = jnp.full(tasks, 1 / tasks, float)
        return FORUMState(jnp.zeros(tasks), adam_init(tasks), shares, jnp.zeros((), jnp.int32))

    def aggregate(task_grads, state, *, counted, losses, inner_losses, validation_grads):
        counted = counted & counted_tasks(validation_grads, tasks, inner_losses, None)

        # The gradient q of the constraint, in the logits and in the parameters.
        weights = jnp.where(counted, jax.nn.softmax(jnp.where(counted, state.logits, -1e30)), 0)
        limit = jnp.finfo(weights.dtype).max ** 0.75
        falls = jnp.asarray(losses, weights.dtype) - jnp.asarray(inner_losses, weights.dtype)
        falls = jnp.where(counted, jnp.clip(falls, -limit, limit), 0)
        q_logits = weights * (falls - weights @ falls)
        inner = jax.tree.map(lambda g: counted_gradients(counted, g), task_grads)
        q_params = combine(weights, inner)
        length, q_logits, q_params = _unit(q_logits, q_params)

        # The unit validation gradients: their Gramian, and their cosines with q.
        outer = jax.tree.map(lambda g: counted_gradients(counted, g), validation_grads)
        unit = unit_gramian(*scaled_gramian(outer, counted))
        inverse = jnp.where(unit.norms > 0, 1 / jnp.where(unit.norms > 0, unit.norms, 1), 0)
        cosines = cross_gramian(outer, jax.tree.map(lambda leaf: leaf[None], q_params))[:, 0]
        cosines = jnp.clip(cosines * inverse, -1, 1)

        # The shares follow the solution of the dual problem; nu is what they leave to q.
        solved = _shares(unit.cosines, cosines, counted, phi * length)
        pace = (1.0 + state.step // steps) ** -0.75
        old = jnp.where(counted, state.shares, 0)
        total = jnp.sum(old)
        old = jnp.where(total > 0, old / jnp.where(total > 0, total, 1), solved)
        shares = old + pace * (solved - old)
        nu = jnp.maximum(phi * length - shares @ cosines, 0)

        direction = jax.tree.map(
            lambda a, q: a + nu.astype(a.dtype) * q, combine(shares * inverse, outer), q_params
        )
        moved, adam = adam_step(nu * q_logits, state.adam, lr)
        new = FORUMState(state.logits + moved, adam, shares, state.step)
        kept = jax.tree.map(lambda n, o: jnp.where(counted, n, o).astype(o.dtype), new, state)
        kept = kept._replace(step=state.step + jnp.any(counted))
        return direction, kept

    return guard(tasks, init, aggregate, requires=("losses", "inner_losses", "validation_grads"))


def _unit(logits: jax.Array, params: Any) -> tuple[jax.Array, jax.Array, Any]:
    """Returns the length of a vector in two parts, and the parts divided by it."""
    squares, scale = scaled_gramian_diagonal(jax.tree.map(lambda leaf: leaf[None], params))
    largest = jnp.max(jnp.abs(logits))
    safe = jnp.where(largest > 0, largest, 1)
    logits_length = jnp.where(largest > 0, safe * jnp.sqrt(jnp.sum((logits / safe) ** 2)), 0)
    length = jnp.hypot(logits_length, (jnp.sqrt(squares) * scale)[0])
    length = jnp.minimum(length, jnp.finfo(length.dtype).max ** 0.75)
    divisor = jnp.where(length > 0, length, 1)
    return length, logits / divisor, jax.tree.map(lambda p: p / divisor.astype(p.dtype), params)


def _shares(
    gramian: jax.Array, cosines: jax.Array, present: jax.Array, target: jax.Array
) -> jax.Array:
    r"""Minimises :math:`|\sum_t s_t a_t + \tau q|^2/2 - c \tau`, s in the simplex, tau >= 0.

    Given tau, s is the shortest convex combination of the rows ``a_t + tau q``; the derivative in
    tau, ``<sum s a, q> + tau - c``, then grows with tau and has its zero within 1 of c.

    Args:
      gramian: ``[T, T]``, of unit rows a.
      cosines: ``[T]``, with the unit vector q.
      present: ``[T]``.
      target: c, 0 or more.

    Returns:
      s ``[T]``.
    """

    def at(tau):
        # Divided by 1 + tau, so that nothing overflows.
        rest, part = 1 / (1 + tau), tau / (1 + tau)
        mixed = rest * part * (cosines[:, None] + cosines) + part**2
        unit = unit_gramian(rest**2 * gramian + mixed)
        return min_norm(unit.cosines, unit.norms, present)

    def halve(_, carry):
        low, high, _ = carry
        middle = (low + high) / 2
        shares = at(middle)
        below = shares @ cosines + middle < target
        return jnp.where(below, middle, low), jnp.where(below, high, middle), shares

    rounds = 26 if jnp.finfo(gramian.dtype).eps > 1e-10 else 52
    start = jnp.maximum(target - 1, 0), target + 1, jnp.zeros_like(cosines)
    return jax.lax.fori_loop(0, rounds, halve, start)[-1]
