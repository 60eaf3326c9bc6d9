"""STCH: a smooth maximum of the losses."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.weighting.common.arguments import (
    check_choice,
    check_count,
    check_each,
    check_positive,
    each,
)
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.log_scale import bounded_exp, log_losses, log_softmax, softmax
from mtljax.weighting.common.preference import check_length, check_preference, preference

_FORMS = ("log", "raw")


class STCHState(NamedTuple):
    """Nadir losses ``nadir [T]``, means of the warm-up, and its steps so far, int32 ``[T]``."""

    nadir: jax.Array
    count: jax.Array


def stch(
    mu: float | jax.Array = 1.0,
    form: str = "log",
    warmup_steps: int = 100,
    pref: Sequence[float] | np.ndarray | None = None,
    ideal: float | Sequence[float] | np.ndarray = 0.0,
) -> Weighting:
    r"""Descends along a smooth maximum of the losses: smooth Tchebycheff scalarization.

    Lin, Zhang, Yang, Liu, Wang and Zhang, "Smooth Tchebycheff Scalarization for Multi-Objective
    Optimization", ICML 2024, arXiv 2402.19078. Weights are the derivatives of one of

    - ``'raw'``: :math:`F = \mu \log \sum_i \exp(\lambda_i (L_i - z_i) / \mu)`, so
      :math:`w_i = \lambda_i \operatorname{softmax}_i(\lambda (L - z) / \mu)`, with a preference
      :math:`\lambda`, 1/m each unless given, and an ideal point z;
    - ``'log'``: :math:`F = m \mu \log \sum_i (L_i / N_i)^{1 / \mu}`, so
      :math:`w_i = m \operatorname{softmax}_i(\log(L / N) / \mu) / L_i`. The nadir
      :math:`N_i` is the mean loss of the first `warmup_steps` steps of a task, during which the
      weights are :math:`1/L_i`, those of the sum of the log losses.

    The smaller :math:`\mu`, the closer F is to the largest (relative) loss. A task that is new
    makes all tasks wait for its warm-up. The direction of the log form does not depend on the
    unit of a loss; its weights are in units of 1/L.

    Signals: ``losses``. State: `STCHState`.

    | input | weights |
    |---|---|
    | equal losses | 1/m^2 (raw, no preference), 1/L (log, equal nadirs) |
    | one task | lambda, by default 1 (raw), 1/L (log) |
    | losses far apart | finite; those of the small losses may round to 0 (raw) |
    | loss 0 or negative | the same formula (raw); the smallest positive normal number (log) |
    | NaN or infinite loss | lambda/m (raw), 1/N or 1 before the first step (log), for the others |

    When to use: the worst task counts, or a sweep over preferences should also reach the non-convex
    parts of the Pareto front.

    Args:
      mu: how smooth, positive.
      form: ``'log'`` or ``'raw'``.
      warmup_steps: steps that the nadir is the mean of, 1 or more. Log form only.
      pref: ``[T]``, positive, or None for 1/m each. Raw form only.
      ideal: z, a number or ``[T]``. Raw form only.

    Returns:
      A loss-only `Weighting` with an `STCHState`, which the raw form leaves at 0. Its `init`
      raises ValueError if `pref` or `ideal` has another number of tasks.

    Raises:
      TypeError: warmup_steps not an integer, pref or ideal not numbers.
      ValueError: mu not positive and finite, another form, warmup_steps below 1, a preference that
        is not positive, an ideal point that is not finite, or one of them given to the log form.

    >>> method = stch(form="raw", mu=0.5)
    >>> method.update(jnp.array([1.0, 1.0]), method.init(2))[0]
    Array([0.25, 0.25], dtype=float32)
    """
    check_positive("mu", mu)
    check_choice("form", form, _FORMS)
    warmup_steps = check_count("warmup_steps", warmup_steps)
    pref = check_preference(pref)
    point = check_each("ideal", ideal)
    if form == "log" and (pref is not None or point.any()):
        raise ValueError("pref and ideal belong to form='raw'")

    def init(num_tasks):
        check_length(pref, num_tasks)
        each("ideal", point, num_tasks)
        return STCHState(jnp.zeros(num_tasks), jnp.zeros(num_tasks, jnp.int32))

    def update_raw(losses, state, *, present):
        shares = preference(pref, present, "mean", losses.dtype)
        # Halved, since the difference of the largest numbers would overflow.
        above_ideal = losses / 2 - jnp.asarray(each("ideal", point, losses.size) / 2, losses.dtype)
        return shares * softmax(shares * above_ideal / mu * 2, present), state

    def update_log(losses, state, *, present):
        logs = log_losses(losses)
        warm = jnp.all((state.count >= warmup_steps) | ~present)
        relative = logs - log_losses(state.nadir.astype(losses.dtype))
        number = jnp.maximum(jnp.sum(present), 1).astype(logs.dtype)
        log_shares = log_softmax(relative / mu, present) + jnp.log(number)
        weights = bounded_exp(jnp.where(warm, log_shares, 0) - logs)

        count = state.count + 1
        share = 1 / count.astype(logs.dtype)
        nadir = (1 - share) * state.nadir + share * jnp.exp(logs)
        learning = state.count < warmup_steps
        return weights, STCHState(
            jnp.where(learning, nadir, state.nadir), jnp.where(learning, count, state.count)
        )

    def fallback_raw(state, counted):
        shares = preference(pref, counted, "mean", state.nadir.dtype)
        return shares / jnp.maximum(jnp.sum(counted), 1)

    def fallback_log(state, counted):
        return jnp.where(state.count > 0, bounded_exp(-log_losses(state.nadir)), 1)

    return guard(
        init,
        update_raw if form == "raw" else update_log,
        fallback=fallback_raw if form == "raw" else fallback_log,
        per_task=("nadir", "count"),
    )
