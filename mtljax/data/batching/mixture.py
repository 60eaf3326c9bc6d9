"""How the tokens of a step are shared among input groups, and how that changes over a run."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args, get_type_hints

from mtljax.data.encoding.input_groups import Group
from mtljax.errors import UserError
from mtljax.ranges import at_least, bounded, check_ranges, positive, size

_FILL = 0.97  # share of a packed row that is real, as a rule


@dataclasses.dataclass(frozen=True)
class MixtureSettings:
    """The rates at which input groups are read.

    Attributes:
        rates: of the groups whose tasks name no `rate`: 'proportional', to
            ``min(tokens, cap) ** (1 / temperature)``, or 'equal'.
        temperature: 1 is in proportion to the training tokens; larger ones make rates more equal.
        final_temperature: the temperature at the end of the run; 0 for no change.
        cap: training tokens beyond which a larger set has no larger rate; 0 for none.
        stages: parts of a run, whose rates change from the first to the last in equal steps where
            there is a final temperature or a task's `rate` has two values. Each compiles once.
        subset: input groups that a step reads; 0 for all in every step, or for one where rates are
            learned.
        schedule: how the rates of input groups are learned over the run, see
            `mtljax.mixtures.SCHEDULES`; 'off' for rates that are given.
        target: the task for whose input group rates are learned; if empty, for all groups.
        every: steps between two updates of learned rates; those of 'exp3' follow evaluations.
        floor: a learned rate is never below this share of an equal one.
        step_size: how fast rates are learned.
        reference: directory of a finished run of the same tasks, which stays there, whose losses
            on validation 'doremi' compares with.

    Raises:
        UserError: with the name of the setting that is out of range.
    """

    rates: Literal["proportional", "equal"] = "proportional"
    temperature: float = positive(default=1.0)
    final_temperature: float = at_least(0, default=0.0)
    cap: int = at_least(0, default=0)
    stages: int = size(2, default=8)
    subset: int = at_least(0, default=0)
    schedule: Literal["off", "balanced_pike", "doge", "doremi", "elimination", "exp3", "pike"] = (
        "off"
    )
    target: str = ""
    every: int = size(1, default=100, high=2**31 - 1)
    floor: float = bounded(default=0.1, low=0, high=1, low_open=True)
    step_size: float = positive(default=1.0)
    reference: str = ""

    def __post_init__(self) -> None:
        if self.rates not in ("proportional", "equal"):
            raise UserError(
                f"mixture.rates {self.rates!r}: expected one of 'proportional', 'equal'"
            )
        known = get_args(get_type_hints(MixtureSettings)["schedule"])
        if self.schedule not in known:
            names = ", ".join(map(repr, known))
            raise UserError(f"mixture.schedule {self.schedule!r}: expected one of {names}")
        check_ranges(self, "mixture.")

    def groups_in_step(self, groups: int) -> int:
        """How many of so many input groups a step reads; 0 for all."""
        count = self.subset or int(self.schedule != "off")
        return count if count < groups else 0


PROPORTIONAL = MixtureSettings()
"""Every group in every step, in proportion to its training tokens."""


def progress(stage: int, stages: int) -> float:
    """How far a stage is from the first, 0, to the last, 1."""
    return stage / (stages - 1) if stages > 1 else 0.0


def num_stages(groups: Sequence[Group], settings: MixtureSettings) -> int:
    """Stages of a run: 1 where its rates do not change."""
    changing = settings.final_temperature not in (0, settings.temperature)
    changing = changing and settings.rates == "proportional"
    changing |= any(isinstance(task.rate, tuple) for group in groups for task in group.tasks)
    return settings.stages if changing else 1


def group_rates(
    groups: Sequence[Group],
    tokens: Mapping[str, int],
    settings: MixtureSettings = PROPORTIONAL,
    at: float = 0.0,
) -> dict[str, float]:
    """The share of a step's tokens that each input group gets.

    A group whose tasks name a `rate` gets that share (the largest, if several do); the others share
    what remains by the settings. Where every group has a rate, only their proportions count.

    Args:
        groups: the input groups.
        tokens: ids in the training split of each group, by name of group.
        settings: settings of the mixture.
        at: the `progress` of the stage, in [0, 1].

    Returns:
        Shares that sum to 1, by name of group.

    Raises:
        UserError: if the rates leave nothing for groups that have none.
    """
    rates = {
        group.name: max(task_rates)
        for group in groups
        if (task_rates := [_at(t.rate, at) for t in group.tasks if t.rate is not None])
    }
    free = [group for group in groups if group.name not in rates]
    if not free:
        return {name: rate / sum(rates.values()) for name, rate in rates.items()}
    remaining = 1 - sum(rates.values())
    if rates and remaining <= 0:
        names = ", ".join(task.name for group in free for task in group.tasks)
        raise UserError(f"the rates add up to 1 or more, which leaves nothing for {names}")
    final = settings.final_temperature or settings.temperature
    exponent = 1 / (settings.temperature + at * (final - settings.temperature))
    cap = settings.cap or math.inf
    sizes = {
        group.name: 1.0 if settings.rates == "equal" else min(tokens[group.name], cap) ** exponent
        for group in free
    }
    total = sum(sizes.values())
    return rates | {name: remaining * size / total for name, size in sizes.items()}


def _at(rate: float | tuple[float, float], progress: float) -> float:
    if isinstance(rate, tuple):
        return rate[0] + progress * (rate[1] - rate[0])
    return rate


def rows_per_group(
    groups: Sequence[Group],
    tokens: Mapping[str, int],
    examples: Mapping[str, int],
    batch_tokens: int,
    row_length: int,
    settings: MixtureSettings = PROPORTIONAL,
    at: float = 0.0,
    multiple: int = 1,
) -> dict[str, int]:
    """Shares the rows of a step among input groups.

    A group whose tasks name a `batch_size` gets rows for that many examples of average length; the
    rows that are left go to the others by `group_rates`, rounded by largest remainders. In a step
    that reads a subset of the groups, each of them has an equal part of the rows.

    Args:
        groups: the input groups.
        tokens: ids in the training split of each group.
        examples: examples in the training split of each group.
        batch_tokens: ids in a step, padding included.
        row_length: ids in a row.
        settings: settings of the mixture.
        at: the `progress` of the stage, in [0, 1].
        multiple: the rows of every group are a multiple of this.

    Returns:
        Rows of each group, at least one block.

    Raises:
        UserError: if the rates leave nothing for groups that have none.
    """
    # A block of `multiple` rows counts as one row up to the end.
    row_length = row_length * multiple
    total = max(1, round(batch_tokens / row_length))
    rows: dict[str, int] = {}
    for group in groups:
        sizes = [task.batch_size for task in group.tasks if task.batch_size is not None]
        if sizes:
            # Rows that so many examples of mean length fill.
            mean = tokens[group.name] / max(1, examples[group.name])
            rows[group.name] = max(1, round(max(sizes) * mean / (row_length * _FILL)))
    others = [group for group in groups if group.name not in rows]
    # The rates are then kept by how often a group is read, not by how many rows it has.
    if count := settings.groups_in_step(len(groups)):
        each = max(1, round(total / count))
        return {group.name: rows.get(group.name, each) * multiple for group in groups}
    if others:
        shares = group_rates(others, tokens, settings, at)
        left = max(len(others), total - sum(rows.values()))
        rows |= _rounded({name: share * left for name, share in shares.items()}, left)
    return {group.name: rows[group.name] * multiple for group in groups}


def _rounded(wanted: Mapping[str, float], total: int) -> dict[str, int]:
    # Largest remainders, but at least one row for each.
    rows = {name: max(1, int(value)) for name, value in wanted.items()}
    by_remainder = sorted(wanted, key=lambda name: rows[name] - wanted[name])
    for name in by_remainder:
        if sum(rows.values()) < total:
            rows[name] += 1
    while sum(rows.values()) > total:
        most = max(rows, key=lambda name: rows[name] - wanted[name] if rows[name] > 1 else -1e9)
        rows[most] -= 1
    return rows


def inclusion(rates: Mapping[str, float], subset: int) -> dict[str, float]:
    """How often each group is among the `subset` groups of a step.

    ``min(1, c r)`` with the `c` that makes them add up to `subset`: a step reads a group once at
    most, so that a rate above ``1 / subset`` cannot be kept.

    >>> {name: round(p, 3) for name, p in inclusion({"a": 0.7, "b": 0.2, "c": 0.1}, 2).items()}
    {'a': 1.0, 'b': 0.667, 'c': 0.333}
    """
    shares: dict[str, float] = {}
    remaining = dict(rates)
    # Groups that reach 1 stay there; the factor of the others is then larger, and may fill more.
    while remaining:
        scale = (subset - len(shares)) / sum(remaining.values())
        full = [name for name, rate in remaining.items() if scale * rate >= 1]
        if not full:
            shares |= {name: scale * rate for name, rate in remaining.items()}
            break
        for name in full:
            shares[name] = 1.0
            del remaining[name]
    return {name: shares[name] for name in rates}
