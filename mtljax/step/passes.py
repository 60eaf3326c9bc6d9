"""Whether all input groups are encoded in one pass, or one after the other."""

from typing import Literal, NamedTuple

Passes = Literal["one", "by_group"]

PASSES = ("auto", "one", "by_group")
"""What may be asked for."""


class PassChoice(NamedTuple):
    """What was chosen.

    Attributes:
      passes: ``'one'``, a forward and a backward pass over the rows of all input groups;
        ``'by_group'``, one group after the other.
      reason: why, in a few words.
    """

    passes: Passes
    reason: str


def choose_passes(
    asked: str, platform: str, devices: int, *, by_task: str = "", groups_apart: str = ""
) -> PassChoice:
    """Chooses how a step that takes the gradient of one weighted sum encodes its input groups.

    One pass gathers and sends what a batch of one task with as many rows does, and is traced once.
    One CPU device is faster group by group, where the activations of a group stay in its caches.

    Args:
      asked: one of `PASSES`.
      platform: of the devices, such as ``'cpu'``.
      devices: their number.
      by_task: why the gradient of every task is taken, so that there is no such sum; empty if not.
      groups_apart: why the groups cannot be encoded together; empty if they can.

    Returns:
      The choice and its reason.

    Raises:
      ValueError: something else was asked for, or one pass where there can be none.

    >>> choose_passes("auto", "cpu", 1).passes, choose_passes("auto", "tpu", 1).passes
    ('by_group', 'one')
    """
    if asked not in PASSES:
        raise ValueError(f"passes must be one of {', '.join(PASSES)}, got {asked!r}")
    if asked == "one" and (by_task or groups_apart):
        raise ValueError(f"passes 'one': {groups_apart or by_task}")
    if asked == "one":
        return PassChoice("one", "as asked for")
    if asked == "by_group":
        return PassChoice("by_group", "as asked for")
    if groups_apart:
        return PassChoice("by_group", groups_apart)
    if devices > 1:
        return PassChoice("one", f"{devices} devices")
    return PassChoice("by_group" if platform == "cpu" else "one", f"one {platform.upper()} device")
