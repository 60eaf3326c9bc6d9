"""What a compiled program costs each device, and the least time that it can take."""

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
      memory: bytes at the fullest moment, arguments included.
      arguments: bytes of the arguments.
      temporaries: bytes of everything between arguments and results, as if all were there at once.
      flops: of the matrix products, see `matmul_flops`.
      sent: bytes that it sends by kind of collective, see `sent_bytes`.
    """

    memory: int
    arguments: int
    temporaries: int
    flops: float
    sent: Mapping[str, float]


def program_costs(compiled: Any, devices: int, *, peak: bool) -> Costs:
    """Reads the costs of what ``jitted.lower(...).compile()`` returns.

    Args:
      compiled: the program.
      devices: that take part.
      peak: whether the compiler says what is there at the fullest moment, as that of TPUs does;
        else arguments, results and temporaries are taken to be there at once.
    """
    text, memory = compiled.as_text(), compiled.memory_analysis()
    whole = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    return Costs(
        memory.peak_memory_in_bytes if peak else whole,
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        matmul_flops(text),
        sent_bytes(collectives(text), devices),
    )


def too_large(message: str) -> tuple[int, int] | None:
    """What a program needs and what there is, in bytes, from the compiler's complaint; else None.

    >>> too_large("Used 20.00G of 15.75G hbm. Exceeded hbm capacity by 4.25G.")
    (21474836480, 16911433728)
    """
    for pattern in _TOO_LARGE:
        if match := pattern.search(message):
            needed, unit, there, other = match.groups()
            return round(float(needed) * _UNITS[unit]), round(float(there) * _UNITS[other])
    return None


def roofline_seconds(costs: Costs, chip: Chip) -> float:
    """The least time of a call: the longest of computing, of memory and of sending.

    Every product at the full rate, every byte that is ever there written or read once, everything
    that is sent over all links at once, and all three at the same time (Williams et al.,
    "Roofline", 2009). No program is as fast.
    """
    moved = costs.memory + costs.arguments
    return max(
        costs.flops / chip.flops,
        moved / chip.memory_rate,
        sum(costs.sent.values()) / chip.link_rate,
    )
