"""PiKE: rates by how strong a group's gradient is, and how noisy."""

from typing import Any

from mtljax.mixtures.contract import Schedule
from mtljax.mixtures.guard import guard
from mtljax.mixtures.rates import namespace, softmax, tilted


def pike(
    *,
    step_size: float = 1.0,
    noise: float = 1.0,
    floor: float = 0.1,
    relative: bool = True,
) -> Schedule:
    r"""PiKE: more of the groups whose gradients are large, less of those whose are noise.

    Algorithm 1 of Li et al., "PiKE: Adaptive Data Mixing for Large-Scale Multi-Task Learning Under
    Low Gradient Conflicts", NeurIPS 2025,

    .. math:: p_k \leftarrow p_k \exp(\zeta_1 |\nabla L_k|^2 - \zeta_2 \sigma_k^2 / (2 b))

    a step of mirror descent on a bound of the loss after a step of training, which is tight where
    gradients are orthogonal. With :math:`\zeta_1` the `step_size` and :math:`\zeta_2` it times
    `noise`. A group whose gradient is mostly noise is read less; so is one that is learned already.

    Args:
      step_size: the largest change of the logarithm of a rate in an update, if `relative`.
      noise: how much variance counts; 0 for norms alone.
      floor: no rate falls below ``floor / K``.
      relative: divide by the largest :math:`|\nabla L_k|^2 + \sigma_k^2 / b`, so that rates do not
        depend on the scale of the losses; gradients of zero then change nothing.

    Raises:
      ValueError: for a floor outside (0, 1].

    >>> import numpy as np
    >>> signals = {"gramian_diagonal": np.array([1.0, 0.1]), "variances": np.array([0.2, 1.0])}
    >>> schedule = pike()
    >>> rates, _ = schedule.update(signals, schedule.init(2))
    >>> rates.round(3).tolist()
    [0.747, 0.253]
    """

    def update(signals: Any, rates: Any, own: Any, mask: Any) -> tuple[Any, Any]:
        squares, variances = signals["gramian_diagonal"], signals["variances"]
        return _tilted(rates, squares, variances, step_size, noise, relative, mask), own

    return guard(update, requires=("gramian_diagonal", "variances"), floor=floor)


def balanced_pike(
    *,
    tau: float = 1.0,
    step_size: float = 1.0,
    noise: float = 1.0,
    floor: float = 0.1,
    relative: bool = True,
) -> Schedule:
    r"""Balanced PiKE (Li et al. 2025, section 3.3): PiKE for losses that are to become alike.

    The objective is the tilted loss :math:`\frac1\tau \log \sum_k e^{\tau L_k}`; for given
    parameters it is a weighted sum of the losses with the weights

    .. math:: y_k = \tau e^{\tau L_k} / \sum_j e^{\tau L_j}

    so that PiKE's squared norm and variance are each times :math:`y_k^2`. Here rates alone follow:
    weights in the loss are those of the run's weighting.

    Args:
      tau: from the mean loss, towards 0, to the worst one.
      step_size: see `pike`.
      noise: see `pike`.
      floor: no rate falls below ``floor / K``.
      relative: see `pike`.

    Raises:
      ValueError: for a floor outside (0, 1], or `tau` that is not positive.
    """
    if not tau > 0:
        raise ValueError(f"tau must be positive, got {tau}")

    def update(signals: Any, rates: Any, own: Any, mask: Any) -> tuple[Any, Any]:
        xp = namespace(rates)
        losses = xp.where(mask, signals["losses"], -xp.inf)
        factors = xp.square(tau * softmax(tau * losses))
        squares = factors * signals["gramian_diagonal"]
        variances = factors * signals["variances"]
        return _tilted(rates, squares, variances, step_size, noise, relative, mask), own

    return guard(update, requires=("losses", "gramian_diagonal", "variances"), floor=floor)


def _tilted(
    rates: Any,
    squares: Any,
    variances: Any,
    step_size: float,
    noise: float,
    relative: bool,
    mask: Any,
) -> Any:
    xp = namespace(rates)
    if relative:
        # What is estimated may be below 0.
        scale = xp.max(xp.maximum(squares, 0) + xp.maximum(variances, 0))
        scale = xp.where(scale > 0, scale, 1)
        squares, variances = squares / scale, variances / scale
    scores = step_size * (squares - noise * variances / 2)
    return tilted(rates, xp.where(mask, scores, 0))
