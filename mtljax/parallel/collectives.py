"""The collectives of a compiled program and the bytes that they send, read from its text."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from mtljax.parallel.program import Computation, arrays, read_program, runs

KINDS = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")

_OPERATION = re.compile(rf"(%[\w.\-]+) = (.+?) ({'|'.join(KINDS)})(-start)?\(")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_MESH = r"mesh\[([^\]]*)\](?:, device_ids=\S+)? \{([^}]*)\}"
_GROUPS = re.compile(rf"replica_groups=(\{{\{{[^}}]*\}}|\{{\}}|\[[\d,]+\]|{_MESH})")
_SLICED = re.compile(r"ROOT .* dynamic-slice\((%[\w.\-]+)")
_BITS = re.compile(r"\d+")


class Collective(NamedTuple):
    """One collective of a program.

    Attributes:
      kind: of `KINDS`.
      size: bytes of its buffer on a device: the operand of an all-reduce or reduce-scatter, the
        result of the others.
      group: number of devices that take part, 0 for all.
      times: how often it runs in a call of the program.
    """

    kind: str
    size: int
    group: int
    times: int

    def sent(self, devices: int) -> float:
        """Bytes that a device sends in a ring, or an algorithm that sends as many."""
        count = self.group or devices
        if self.kind == "collective-permute":
            return float(self.size * self.times)
        rounds = 2 if self.kind == "all-reduce" else 1
        return rounds * self.size * (count - 1) / count * self.times


def collectives(program: str) -> list[Collective]:
    """The collectives of a compiled program.

    Loops count as often as they run where the program says so, else once; of the branches of a
    conditional, all count. An all-reduce inside a fusion that returns a part of it is what TPUs
    have for a reduce-scatter. An all-gather that overlaps several fusions is named in each of them,
    and counts once.

    Args:
      program: text such as ``jitted.lower(...).compile().as_text()``.

    Returns:
      One entry for each, in the order of the text.
    """
    read = read_program(program)
    times = runs(read)
    fusions = {
        name
        for computation in read.computations.values()
        for call in computation.calls
        if " fusion(" in call.line
        for name in call.names
    }
    counted: list[Collective] = []
    overlapping: set[tuple[str, int, str]] = set()
    for name, computation in read.computations.items():
        for collective, channel in _of_computation(computation, name in fusions):
            if name in fusions and channel and collective.kind == "all-gather":
                identity = (collective.kind, collective.size, channel)
                if identity in overlapping:
                    continue
                overlapping.add(identity)
            counted.append(collective._replace(times=times[name]))
    return counted


def buffer_bytes(collectives: Iterable[Collective]) -> dict[str, int]:
    """Bytes of the buffers of each kind of collective that occurs; see `Collective.size`."""
    totals: dict[str, int] = defaultdict(int)
    for collective in collectives:
        totals[collective.kind] += collective.size * collective.times
    return dict(totals)


def sent_bytes(collectives: Iterable[Collective], devices: int) -> dict[str, float]:
    """Bytes that each of `devices` devices sends in each kind of collective that occurs."""
    totals: dict[str, float] = defaultdict(float)
    for collective in collectives:
        totals[collective.kind] += collective.sent(devices)
    return dict(totals)


def _of_computation(computation: Computation, fusion: bool) -> list[tuple[Collective, str]]:
    """The collectives of a computation, with their channels."""
    sliced = {m[1] for line in computation.lines if fusion and (m := _SLICED.search(line))}
    with_channels = []
    for line in computation.lines:
        if (collective := _collective(line, sliced)) is not None:
            channel = _CHANNEL.search(line)
            with_channels.append((collective, channel[1] if channel else ""))
    return with_channels


def _collective(line: str, sliced: set[str]) -> Collective | None:
    match = _OPERATION.search(line)
    if match is None:
        return None
    name, result, kind, started = match.groups()
    sizes = [_bytes(*array) for array in arrays(result)]
    if started and result.startswith("("):
        # The result of a start has the operands before the results.
        sizes = sizes[len(sizes) // 2 :] if kind != "all-reduce" else sizes
    group = _group(line)
    size = sum(sizes) * (max(group, 1) if kind == "reduce-scatter" else 1)
    return Collective("reduce-scatter" if name in sliced else kind, size, group, 1)


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    bits = 8 if dtype == "pred" else int((_BITS.search(dtype) or ["0"])[0])
    return math.prod(shape) * bits // 8


def _group(line: str) -> int:
    match = _GROUPS.search(line)
    if match is None or match[1] == "{}":
        return 0
    if match[2] is not None:  # mesh['task'=4,'data'=2] {'data'}
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", match[2]))
        return math.prod(int(sizes[name]) for name in re.findall(r"'(\w+)'", match[3]))
    if match[1].startswith("["):  # [4,2]<=[8]: four groups of two
        return int(match[1].strip("[]").split(",")[-1])
    return len(re.findall(r"\d+", match[1]))
