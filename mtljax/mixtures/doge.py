"""DoGE: rates by how far a group's gradient points where a target's points."""

from typing import Any

from mtljax.mixtures.contract import Schedule
from mtljax.mixtures.guard import guard
from mtljax.mixtures.rates import namespace, tilted


def doge(
    *,
    target: int | None = None,
    step_size: float = 1.0,
    floor: float = 0.1,
    relative: bool = True,
    validation: bool = False,
) -> Schedule:
    r"""DoGE (Fan et al., "DoGE: Domain Reweighting with Generalization Estimation", ICML 2024).

    .. math:: p_k \leftarrow p_k \exp(\eta \langle g_k, \textstyle\sum_j g_j \rangle)

    the effect, to first order, of a step on group `k` on the losses of all groups; or on that of a
    target, with its gradient in place of the sum. With `validation` the gradients of the sum or the
    target are those of validation batches, which is the gradient of the validation loss for the
    rates through one step of training: the meta-gradient of methods like ADAPT. A group that is
    repeated in training but of no use to validation then gains nothing by its own gradient.

    Args:
      target: the index of the group that counts; None for all.
      step_size: `eta`: the largest change of the logarithm of a rate in an update, if `relative`.
      floor: no rate falls below ``floor / K``.
      relative: divide by the norm of the target's gradient times the largest norm of a group's, so
        that rates do not depend on the scale of the losses; with `validation`, whose norms are not
        known, by the largest product.
      validation: whether ``validation_gradients`` are read in place of ``gramian``.

    Raises:
      ValueError: for a floor outside (0, 1], or a negative target; in `init` for a target that
        there is not.

    >>> import numpy as np
    >>> gramian = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> schedule = doge(target=0)
    >>> rates, _ = schedule.update({"gramian": gramian}, schedule.init(3))
    >>> rates.round(3).tolist()
    [0.506, 0.307, 0.186]
    """
    name = "validation_gradients" if validation else "gramian"

    def update(signals: Any, rates: Any, own: Any, mask: Any) -> tuple[Any, Any]:
        xp = namespace(rates)
        products = signals[name]
        scores = xp.sum(products, 0) if target is None else products[target]
        if relative and validation:
            scores = _divided(scores, xp.max(xp.abs(scores)))
        elif relative:
            squares = xp.diagonal(products)
            square = xp.sum(products) if target is None else squares[target]
            roots = xp.sqrt(xp.maximum(square, 0)), xp.sqrt(xp.max(xp.maximum(squares, 0)))
            # One after the other: their product may be too large or too small a number.
            scores = _divided(_divided(scores, roots[0]), roots[1])
        return tilted(rates, xp.where(mask, step_size * scores, 0)), own

    return guard(update, requires=(name,), floor=floor, target=target)


def _divided(values: Any, scale: Any) -> Any:
    """Values over a scale, which is 0 only where all of them are."""
    xp = namespace(values)
    return xp.where(scale > 0, values / xp.where(scale > 0, scale, 1), 0)
