"""Memory, FLOPs and bytes sent of a compiled program, and a roofline bound of its time."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mtljax.parallel.collectives import collectives, sent_bytes
from mtljax.parallel.flops import matmul_flops
from mtljax.parallel.hardware import GIB, Chip

_TOO_LARGE = (
    re.compile(r"\(([\d.]+)([KMG])\) exceeds available HBM \(([\d.]+)([KMG])\)"),
    re.compile(r"Used ([\d.]+)([KMG]) of ([\d.]+)([KMG]) hbm"),
)
_UNITS = {"K": 2**10, "M": 2**20, "G": GIB}


class Costs(NamedTuple):
    """Costs of one device.

    Attributes:
      memory: bytes at the peak, arguments included.
      arguments: bytes of the arguments.
      temporaries: bytes of all temporary buffers together.
      flops: FLOPs of the matrix products, see `matmul_flops`.
      sent: bytes that it sends by kind of collective, see `sent_bytes`.
    """

    memory: int
    arguments: int
    temporaries: int
    flops: float
    sent: Mapping[str, float]


def program_costs(compiled: Any, devices: int, *, peak: bool) -> Costs:
    """Reads the costs of a compiled program.

    Args:
      compiled: what ``jitted.lower(...).compile()`` returns.
      devices: number of devices that run it.
      peak: whether the compiler reports the memory at the peak, as that of TPUs does; else it is
        the sum of arguments, results and temporaries.

    Returns:
      `Costs` of each device.
    """
    text, memory = compiled.as_text(), compiled.memory_analysis()
    total = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    return Costs(
        memory.peak_memory_in_bytes if peak else total,
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        matmul_flops(text),
        sent_bytes(collectives(text), devices),
    )


def too_large(message: str) -> tuple[int, int] | None:
    """The memory that a program needs and that a device has, from a compiler's error message.

    Args:
      message: of the error.

    Returns:
      Both in bytes; None if the message is of another error.

    >>> too_large("Used 20.00G of 15.75G hbm. Exceeded hbm capacity by 4.25G.")
    (21474836480, 16911433728)
    """
    for pattern in _TOO_LARGE:
        if match := pattern.search(message):
            needed, needed_unit, limit, limit_unit = match.groups()
            return (
                round(float(needed) * _UNITS[needed_unit]),
                round(float(limit) * _UNITS[limit_unit]),
            )
    return None


def mean_of_steps(usual: float, other: float, every: int) -> float:
    """The mean over steps of which one in `every` has another value.

    >>> mean_of_steps(1.0, 3.0, 4)
    1.5
    """
    return usual + (other - usual) / every


def mean_costs(costs: Costs, other: Costs, every: int) -> Costs:
    """Costs of a step where one in so many is another: the larger memory, the mean of the rest.

    Args:
      costs: of most steps.
      other: of the one in `every`.
      every: steps from one such to the next.
    """
    kinds = sorted({*costs.sent, *other.sent})
    return Costs(
        memory=max(costs.memory, other.memory),
        arguments=max(costs.arguments, other.arguments),
        temporaries=max(costs.temporaries, other.temporaries),
        flops=mean_of_steps(costs.flops, other.flops, every),
        sent={
            kind: mean_of_steps(costs.sent.get(kind, 0), other.sent.get(kind, 0), every)
            for kind in kinds
        },
    )


def roofline_seconds(costs: Costs, chip: Chip) -> float:
    """A lower bound of the time of a call: the longest of computing, memory and communication.

    Every product at the full rate, every buffer written or read once, everything that is sent over
    all links at once, and all three at the same time (Williams et al., "Roofline", 2009).

    Args:
      costs: of each device.
      chip: what a device can do.

    Returns:
      Seconds.
    """
    moved = costs.memory + costs.arguments
    return max(
        costs.flops / chip.flops,
        moved / chip.memory_rate,
        sum(costs.sent.values()) / chip.link_rate,
    )
