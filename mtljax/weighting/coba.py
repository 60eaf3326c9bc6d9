"""CoBa: weights from the trends of the validation losses."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_count, check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.log_scale import softmax
from mtljax.weighting.common.preference import equal_weights


class Trend(NamedTuple):
    """A window of numbers, the newest last, and of the slopes of their regression lines.

    Attributes:
      values: ``[..., W]``.
      count: int32 ``[...]``, numbers so far, up to the longer of window and warm-up.
      slopes: ``[..., W]``, the newest last.
      slope_count: int32 ``[...]``, slopes in the window.
    """

    values: jax.Array
    count: jax.Array
    slopes: jax.Array
    slope_count: jax.Array


class CoBaState(NamedTuple):
    """What was measured so far.

    Attributes:
      step: int32, steps since the last measurement was due, 0 where one is.
      first: ``[T]``, sizes of the first validation losses, 0 before the first.
      tasks: trends ``[T, W]`` of the validation losses relative to the first.
      worst: trend ``[W]`` of the largest of them.
    """

    step: jax.Array
    first: jax.Array
    tasks: Trend
    worst: Trend


def coba(
    window: int = 200,
    warmup: int = 100,
    tau: float | jax.Array = 5.0,
    update_every: int = 1,
) -> Weighting:
    r"""Makes the validation losses of all tasks converge at the same time.

    Gong, Yu, Liao, Liu, Chen and Li, "CoBa: Convergence Balancer for Multitask Finetuning of Large
    Language Models", EMNLP 2024, arXiv 2410.06741. Every `update_every` steps the validation
    losses, each divided by its first value, are measured. :math:`\alpha_i` is the
    slope of the regression line through the last W ratios of task i, :math:`\alpha_{max}` that of
    the largest ratios. From the last W slopes, s counting them and t being the newest,

    .. math::
       RCS_i &= \operatorname{softmax}_i \frac{m \alpha_i}{\sum_k |\alpha_k|} \qquad
       ACS_i = \operatorname{softmax}_i \frac{-W \alpha_i(t)}{\sum_s |\alpha_i(s)|} \\
       DF &= \min\Bigl(1, W \operatorname{softmax}_{s=t}
             \frac{-\tau W \alpha_{max}(s)}{\sum_s |\alpha_{max}(s)|}\Bigr) \\
       w &= \operatorname{softmax}\bigl(m (DF \cdot RCS + (1 - DF) ACS)\bigr).

    A task that converges more slowly than the others gains by RCS, one that has begun to overfit
    loses by ACS, and DF moves from the first to the second as the worst task
    overfits. Finally :math:`w \leftarrow 0.9 w + 1/(10 m)`, so that no task starves. The weights
    sum to 1.

    Signals: ``losses`` and ``validation_losses``, which is ignored in the steps between. State:
    `CoBaState`. Slopes count from the end of the warm-up. A task counts just the measurements in
    which it is present, and a new one makes all wait for its warm-up.

    | input | weights |
    |---|---|
    | before `warmup` measurements | 1/m |
    | one task | 1 |
    | losses that do not change | 1/m: terms 0/0 are 0 |
    | a first loss of 0 | that loss is not divided until one is not 0 |
    | a first loss below 0 | ratios to its absolute value |
    | losses of any size | finite, from 1/(10 m) up; ratios are limited to 1e18 |
    | NaN or infinite validation loss | 1/m for the other tasks |

    When to use: fine-tuning in which tasks overfit at different times, where a validation batch
    every `update_every` steps is affordable.

    Args:
      window: W, measurements that slopes are taken over, and slopes that are compared, 2 or more.
      warmup: measurements before weights change, 2 or more.
      tau: temperature of DF, positive.
      update_every: steps between measurements, 1 or more.

    Returns:
      A `Weighting` with a `CoBaState`.

    Raises:
      TypeError: a count that is not an integer.
      ValueError: a count too small, or tau not positive and finite.

    >>> method = coba(warmup=2)
    >>> state = method.init(2)
    >>> for validation in ([2.0, 2.0], [1.9, 1.0]):
    ...     weights, state = method.update(
    ...         jnp.ones(2), state, validation_losses=jnp.array(validation)
    ...     )
    >>> weights.round(2)  # the first task is slow
    Array([0.76, 0.24], dtype=float32)
    """
    window = check_count("window", window, 2)
    warmup = check_count("warmup", warmup, 2)
    check_positive("tau", tau)
    update_every = check_count("update_every", update_every)

    def init(num_tasks):
        def trend(*shape: int) -> Trend:
            values, count = jnp.zeros((*shape, window)), jnp.zeros(shape, jnp.int32)
            return Trend(values, count, jnp.array(values), jnp.array(count))

        return CoBaState(jnp.zeros((), jnp.int32), jnp.zeros(num_tasks), trend(num_tasks), trend())

    def measured(state: CoBaState, losses: jax.Array, present: jax.Array) -> CoBaState:
        """Returns the state with the validation losses ``[T]`` of one more measurement."""
        tiny = jnp.finfo(losses.dtype).tiny
        first = jnp.where(state.first < tiny, jnp.abs(losses), state.first)
        ratios = jnp.clip(losses / jnp.where(first < tiny, 1, first), -1e18, 1e18)
        largest = jnp.max(jnp.where(present, ratios, -jnp.inf))
        largest = jnp.where(jnp.isfinite(largest), largest, 0)  # no task is present
        return state._replace(
            first=first,
            tasks=_extended(state.tasks, ratios, warmup),
            worst=_extended(state.worst, largest, warmup),
        )

    def update(losses, state, *, present, validation_losses):
        del losses
        due = state.step % update_every == 0
        new = measured(state, validation_losses, present)
        new = jax.tree.map(lambda n, o: jnp.where(due, n, o), new, state)
        new = new._replace(step=(state.step + 1) % update_every)

        # RCS, ACS and DF of the docstring.
        count = jnp.maximum(jnp.sum(present), 1).astype(validation_losses.dtype)
        slopes = new.tasks.slopes[:, -1]
        relative = softmax(
            count * _ratio(slopes, jnp.sum(jnp.where(present, jnp.abs(slopes), 0))), present
        )
        absolute = softmax(-_relative(new.tasks)[:, -1], present)
        newest = jnp.arange(window) >= window - new.worst.slope_count
        factor = softmax(-tau * _relative(new.worst), newest)[-1] * new.worst.slope_count
        factor = jnp.minimum(factor, 1)
        weights = softmax(count * (factor * relative + (1 - factor) * absolute), present)
        weights = 0.9 * weights + 0.1 / count
        warm = jnp.all((new.tasks.slope_count > 0) | ~present)
        return jnp.where(warm, weights, 1 / count), new

    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("losses", "validation_losses"),
        ahead=True,
        per_task=("first", "tasks"),
    )


def _extended(trend: Trend, value: jax.Array, warmup: int) -> Trend:
    """Appends a value ``[...]``, and after the warm-up the slope of the window that it ends."""
    window = trend.values.shape[-1]
    values = _shifted(trend.values, value)
    count = jnp.minimum(trend.count + 1, max(window, warmup))
    warm = count >= warmup
    slopes = _shifted(trend.slopes, _slope(values, jnp.minimum(count, window)))
    return Trend(
        values,
        count,
        jnp.where(warm[..., None], slopes, trend.slopes),
        jnp.where(warm, jnp.minimum(trend.slope_count + 1, window), trend.slope_count),
    )


def _shifted(values: jax.Array, value: jax.Array) -> jax.Array:
    return jnp.concatenate([values[..., 1:], value[..., None].astype(values.dtype)], axis=-1)


def _slope(values: jax.Array, count: jax.Array) -> jax.Array:
    """Slope ``[...]`` of the regression line through the last `count` values; 0 for one value."""
    window = values.shape[-1]
    positions = jnp.arange(window)
    number = count[..., None]
    centred = jnp.where(
        positions >= window - number, positions - (window - 1) + (number - 1) / 2, 0
    )
    # Differences to the newest, so that equal values have slope 0 and no rounding.
    products = centred * (values - values[..., -1:])
    return _ratio(jnp.sum(products, axis=-1), jnp.sum(centred**2, axis=-1))


def _relative(trend: Trend) -> jax.Array:
    """Slopes ``[..., W]`` divided by their mean size."""
    sizes = jnp.sum(jnp.abs(trend.slopes), axis=-1, keepdims=True)
    return trend.slope_count[..., None] * _ratio(trend.slopes, sizes)


def _ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """The quotient, 0 where the denominator is 0."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1), 0)
