"""A bandit over groups: more of what made the validation loss fall."""

from typing import Any, NamedTuple

import numpy as np

from mtljax.mixtures.contract import Schedule
from mtljax.mixtures.guard import guard
from mtljax.mixtures.rates import namespace, softmax

_GOLDEN = 2654435769  # 2^32 over the golden ratio


class Exp3State(NamedTuple):
    """What `exp3` keeps.

    Attributes:
      log_weights: ``[K]``.
      arm: the group that the period since the last update emphasizes, int32.
      seen: losses seen, int32.
      loss: the last one of the target.
      mean: of the drops so far.
      largest: the largest difference of a drop from their mean.
    """

    log_weights: Any
    arm: Any
    seen: Any
    loss: Any
    mean: Any
    largest: Any


def exp3(
    *,
    target: int | None = None,
    step_size: float = 1.0,
    emphasis: float = 0.5,
    floor: float = 0.1,
    seed: int = 0,
) -> Schedule:
    r"""EXP3 (Auer et al., "The Nonstochastic Multiarmed Bandit Problem", SIAM J. Comput. 2002).

    From one update to the next, one group `a` is emphasized, drawn from

    .. math:: p = (1 - c) \operatorname{softmax}(w) + c / K

    and the rates are :math:`(1 - e) p + e` for it, :math:`(1 - e) p` for the others, mixed with the
    floor; their mean over draws is `p` but for the floor. The reward `x` is the drop of the
    target's validation loss, less the mean of the drops before, over the largest such difference,
    so that it is in [-1, 1] as losses fall ever more slowly; and :math:`w_a \leftarrow w_a + \eta x
    / (K p_a)`. Arms are drawn by the golden ratio's sequence, which visits each in its share more
    evenly than independent draws would; the first update has no drop to reward yet.

    Args:
      target: the index of the group whose validation loss counts; None for the mean of all.
      step_size: `eta`.
      emphasis: `e`, in (0, 1].
      floor: `c`.
      seed: shifts the sequence of draws.

    Raises:
      ValueError: for a floor or an emphasis outside (0, 1], or a negative target; in `init` for a
        target that there is not.
    """
    if not 0 < emphasis <= 1:
        raise ValueError(f"emphasis must be in (0, 1], got {emphasis}")

    def drawn(probabilities: Any, number: Any) -> Any:
        xp = namespace(probabilities)
        # Products wrap around at 2^32, in arrays without a warning.
        turns = xp.reshape(xp.asarray(number), 1).astype(xp.uint32)
        turns = (turns + xp.asarray([(seed + 1) % 2**32], xp.uint32)) * xp.uint32(_GOLDEN)
        point = turns[0].astype(probabilities.dtype) / 2.0**32
        arm = xp.sum(xp.cumsum(probabilities) <= point * xp.sum(probabilities))
        return xp.minimum(arm, probabilities.shape[0] - 1).astype(xp.int32)

    def probabilities_of(log_weights: Any) -> Any:
        return (1 - floor) * softmax(log_weights) + floor / log_weights.shape[0]

    def init(num_groups: int, rates: np.ndarray) -> Exp3State:
        # Weights whose probabilities are the rates to begin with.
        free = np.maximum((rates - floor / num_groups) / max(1 - floor, 1e-9), 1e-9)
        weights = np.log(free)
        zero = np.zeros(())
        arm = drawn(probabilities_of(weights), np.zeros((), np.int32))
        return Exp3State(weights, arm, np.zeros((), np.int32), zero, zero, zero)

    def update(signals: Any, rates: Any, own: Any, mask: Any) -> tuple[Any, Any]:
        xp = namespace(rates)
        losses = signals["validation_losses"]
        loss = xp.sum(losses) / xp.sum(mask) if target is None else losses[target]
        drops = own.seen - 1  # seen so far; the first loss has none
        rewarded, compared = drops >= 0, drops >= 1
        drop = own.loss - loss
        advantage = xp.where(compared, drop - own.mean, 0)
        largest = xp.where(compared, xp.maximum(own.largest, xp.abs(advantage)), own.largest)
        reward = xp.where(largest > 0, advantage / xp.where(largest > 0, largest, 1), 0)
        mean = own.mean + xp.where(rewarded, (drop - own.mean) / xp.maximum(drops + 1, 1), 0)
        pulled = xp.arange(rates.shape[0]) == own.arm
        before = probabilities_of(own.log_weights)
        gain = step_size * reward / (rates.shape[0] * before)
        log_weights = own.log_weights + xp.where(pulled, gain, 0)
        log_weights = log_weights - xp.max(log_weights)
        probabilities = probabilities_of(log_weights)
        seen = own.seen + 1
        arm = drawn(probabilities, seen)
        chosen = xp.arange(rates.shape[0]) == arm
        learned = (1 - emphasis) * probabilities + emphasis * chosen
        learned = (1 - floor) * learned + floor / rates.shape[0]
        return learned, Exp3State(log_weights, arm, seen, loss, mean, largest)

    return guard(update, requires=("validation_losses",), floor=floor, init=init, target=target)
