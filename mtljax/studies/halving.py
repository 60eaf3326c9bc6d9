"""Successive halving: which settings are tried, for how long, and how many go on."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mtljax.presets import Config
from mtljax.tasks import Task

SHARES = (1 / 9, 1 / 3, 1.0)
"""Of the steps of a whole run, by round: a third of the settings of a round go on to the next."""

_KEPT = 3
_MOST_DROPOUT = 0.7


class Round(NamedTuple):
    """A round of a search.

    Attributes:
      count: settings that are tried in it.
      share: of the steps of a whole run that each has.
    """

    count: int
    share: float


class Costs(NamedTuple):
    """What a run costs, in seconds.

    Attributes:
      fixed: whatever its length: reading data, compiling, evaluating.
      steps: all steps of a whole run.
    """

    fixed: float
    steps: float

    def of(self, share: float) -> float:
        """Of a run with this share of the steps."""
        return self.fixed + share * self.steps


def affordable(costs: Costs, seconds: float, most: int) -> list[Round]:
    """The rounds with the most settings that a budget allows (Jamieson and Talwalkar 2016).

    Short runs are left out where they are hardly cheaper than whole ones.

    Args:
      costs: of a run.
      seconds: of all rounds, and of a run of the shortest share that told the costs.
      most: settings of the first round at most.

    Returns:
      One to three rounds, each with a third of the settings of the one before, the last of whole
      runs; none where a single one is too much.

    >>> [tuple(one) for one in affordable(Costs(0, 9), 27, most=99)]
    [(9, 0.1111111111111111), (3, 0.3333333333333333), (1, 1.0)]
    >>> [tuple(one) for one in affordable(Costs(9, 1), 99, most=99)]
    [(8, 1.0)]
    """
    found = [Round(1, 1.0)] if costs.of(1.0) <= seconds else []
    for depth in (3, 2, 1):
        told = 0.0 if depth == len(SHARES) else costs.of(SHARES[0])
        for count in range(2, most + 1):
            rounds = rounds_of(count, depth)
            if told + sum(one.count * costs.of(one.share) for one in rounds) > seconds:
                break
            if count >= found[0].count:
                found = rounds
    return found


def rounds_of(count: int, depth: int = len(SHARES)) -> list[Round]:
    """The rounds of a search over so many settings, of which there are `depth`."""
    counts = [math.ceil(count / _KEPT**number) for number in range(depth)]
    return [Round(*one) for one in zip(counts, SHARES[-depth:], strict=True)]


def shortened(config: Config, share: float) -> Config:
    """A configuration with a share of its steps, evaluated as often."""
    return dataclasses.replace(
        config,
        steps=max(1, round(config.steps * share)),
        epochs=config.epochs * share,
        evaluate_every=max(1, round(config.evaluate_every * share)),
    )


def drawn_settings(
    config: Config, tasks: Sequence[Task], number: int, seed: int
) -> tuple[Config, tuple[Task, ...]]:
    """Settings to try, by their number; 0 are those that are given.

    Others have a learning rate of up to five times or a fifth of that, one dropout in [0, 0.7]
    of encoder and heads, a weight decay of 0 or in [0.01, 3], and, where there are several tasks,
    weights of up to four times or a quarter of theirs, whose geometric mean is the same.

    Args:
      config: that is given.
      tasks: that are given.
      number: of the settings.
      seed: of the draws.
    """
    if number == 0:
        return config, tuple(tasks)
    rng = np.random.default_rng([seed, number])
    rate = config.optimizer.learning_rate * 5 ** rng.uniform(-1, 1)
    dropout = round(rng.uniform(0, _MOST_DROPOUT), 2)
    decay = 0.0 if rng.random() < 1 / 3 else 0.01 * 300 ** rng.random()
    logs = rng.uniform(-1, 1, len(tasks))
    weights = 4 ** (logs - logs.mean())
    optimizer = dataclasses.replace(
        config.optimizer, learning_rate=_rounded(rate), weight_decay=_rounded(decay)
    )
    name = "embedding_dropout" if config.encoder.kind == "linear" else "dropout"
    encoder = dataclasses.replace(config.encoder, **{name: dropout})
    heads = dataclasses.replace(config.heads, dropout=dropout, tag_dropout=dropout)
    drawn = dataclasses.replace(config, optimizer=optimizer, encoder=encoder, heads=heads)
    weighed = tuple(
        dataclasses.replace(task, weight=_rounded(task.weight * weight))
        for task, weight in zip(tasks, weights.tolist(), strict=True)
    )
    return drawn, weighed


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
