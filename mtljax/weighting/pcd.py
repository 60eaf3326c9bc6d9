"""PCD: the direction of a primary task, under constraints from auxiliary tasks."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from mtljax.solvers.nnqp import nnqp
from mtljax.weighting.common.arguments import check_count, check_each, check_range, each
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.unit_vectors import from_unit_weights


class PCDState(NamedTuple):
    r"""Root mean squares of the gradients' norms, before bias correction, and steps.

    Attributes:
      root: ``[T]``; its square is the moving average of \|g_i\|^2.
      count: int32 ``[T]``, steps in which the task was present.
    """

    root: jax.Array
    count: jax.Array


def pcd(
    tau: float | Sequence[float] | np.ndarray | jax.Array = 0.02,
    beta: float | jax.Array = 0.999,
    primary: int = 0,
) -> Weighting:
    r"""The primary task's direction, changed as little as the auxiliary tasks need to gain.

    Primary-constrained descent, TMLR 2026, arXiv 2606.29521. Each gradient is divided by the root
    of a bias-corrected moving average of its squared norm, :math:`\tilde g_i = g_i / r_i`; then

    .. math:: \tilde d = \arg\min_x |x - \tilde g_1|^2 \quad \text{s.t. }
        \langle \tilde g_j, x \rangle \ge \tau_j |\tilde g_j|^2 \text{ for auxiliary } j,

    scaled to the norm of the primary gradient. Solved exactly by `solvers.nnqp`. The primary task
    sets the length of the step, whatever the others' scales.

    Signals: ``gramian``. State: `PCDState`.

    | input | weights |
    |---|---|
    | one task | 1 |
    | the primary alone satisfies all | 1 for the primary, 0 elsewhere |
    | no direction satisfies all auxiliary tasks | 1 for the primary, 0 elsewhere |
    | the primary gradient is zero, or the primary is absent | 0 |
    | an auxiliary gradient is zero | 0 for it |
    | d is zero up to rounding | 0 |

    When to use: one task is the goal, and the others are there to help it.

    Args:
      tau: how much of its own gradient's squared norm each auxiliary task must gain, 0 or more; one
        number, or one a task, of which the primary's is not read.
      beta: decay of the moving average, in [0, 1).
      primary: index of the primary task.

    Returns:
      A `Weighting` with a `PCDState`. Its `init` raises ValueError if there is no task `primary`,
      or if `tau` has another number of them.

    Raises:
      TypeError: primary is no integer, or tau is not made of numbers.
      ValueError: an argument is out of its range.

    >>> method = pcd(tau=0.0)
    >>> gramian = jnp.array([[4.0, -1.0], [-1.0, 1.0]])
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0].round(3)
    Array([1.155, 1.155], dtype=float32)
    """
    least = tau if isinstance(tau, Tracer) else check_each("tau", tau)
    if isinstance(least, np.ndarray) and (least < 0).any():
        raise ValueError(f"tau must be 0 or more, got {tau!r}")
    check_range("beta", beta, 0, 1, ends="[)")
    first = check_count("primary", primary, 0)

    def init(num_tasks):
        if first >= num_tasks:
            raise ValueError(f"primary must be below {num_tasks} tasks, got {first}")
        if isinstance(least, np.ndarray):
            each("tau", least, num_tasks)
        return PCDState(jnp.zeros(num_tasks), jnp.zeros(num_tasks, jnp.int32))

    def update(losses, state, *, present, gramian):
        del losses, present
        cosines, norms = gramian
        floors = jnp.broadcast_to(jnp.asarray(least, norms.dtype), norms.shape)
        rate = jnp.asarray(1 - beta, norms.dtype)
        new = PCDState(_hypotenuse(state.root, norms, rate), state.count + 1)
        correction = -jnp.expm1(new.count * jnp.log1p(-rate))  # 1 - beta^count
        average = (new.root / jnp.sqrt(correction)).astype(norms.dtype)
        lengths = jnp.where(average > 0, norms / jnp.where(average > 0, average, 1), 0)

        auxiliary = (jnp.arange(norms.size) != first) & (norms > 0)
        primary_length = lengths[first]
        # In unit gradients u: auxiliary j must get <u_j, d> >= tau |g_j| / r_j.
        shift = jnp.where(auxiliary, primary_length * cosines[first] - floors * lengths, 0)
        between = jnp.where(auxiliary[:, None] & auxiliary, cosines, 0)
        y = nnqp(between, shift).at[first].set(primary_length)
        gains = cosines @ y
        square = jnp.maximum(y @ gains, 0)
        rounding = 4 * jnp.sum(norms > 0) * jnp.finfo(norms.dtype).eps
        length = jnp.sqrt(square)
        # Without a solution y grows until rounding stops it, and leaves a constraint unmet.
        slack = 1e-4 * lengths + 8 * rounding * length
        missed = jnp.any(auxiliary & (floors * lengths - gains > slack))
        moves = (norms[first] > 0) & (square > rounding * jnp.sum(y) ** 2)

        unit = y / jnp.where(moves, length, 1)
        constrained = jnp.where(moves, from_unit_weights(norms[first] * unit, norms), 0)
        primary_only = (jnp.arange(norms.size) == first) & (norms[first] > 0)
        return jnp.where(missed, primary_only.astype(norms.dtype), constrained), new

    return guard(
        init,
        update,
        fallback=lambda state, counted: (counted & (jnp.arange(counted.size) == first)).astype(
            float
        ),
        requires=("gramian",),
        per_task=("root", "count"),
    )


def _hypotenuse(root: jax.Array, norms: jax.Array, rate: jax.Array) -> jax.Array:
    """The root of ``(1 - rate) root^2 + rate norms^2``, whose squares may overflow."""
    larger = jnp.maximum(root, norms)
    unit = jnp.where(larger > 0, larger, 1)
    return larger * jnp.sqrt((1 - rate) * (root / unit) ** 2 + rate * (norms / unit) ** 2)
