"""What the devices of a compiled program send each other, read from its text."""

import math
import re
from collections import defaultdict
from typing import NamedTuple

from mtljax.parallel.program import Computation, arrays, read_program, runs

KINDS = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")

_OPERATION = re.compile(rf"(%[\w.\-]+) = (.+?) ({'|'.join(KINDS)})(-start)?\(")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_MESH = r"mesh\[([^\]]*)\](?:, device_ids=\S+)? \{([^}]*)\}"
_GROUPS = re.compile(rf"replica_groups=(\{{\{{[^}}]*\}}|\{{\}}|\[[\d,]+\]|{_MESH})")
_PART = re.compile(r"ROOT .* dynamic-slice\((%[\w.\-]+)")
_BITS = re.compile(r"\d+")


class Collective(NamedTuple):
    """One collective of a program.

    Attributes:
      kind: of `KINDS`.
      size: bytes of its whole buffer on a device: what goes into an all-reduce or reduce-scatter,
        what comes out of the others.
      group: devices that take part, 0 for all.
      times: how often it runs in a call of the program.
    """

    kind: str
    size: int
    group: int
    times: int

    def sent(self, devices: int) -> float:
        """Bytes that a device sends, in a ring or an equivalent of it."""
        count = self.group or devices
        if self.kind == "collective-permute":
            return float(self.size * self.times)
        rounds = 2 if self.kind == "all-reduce" else 1
        return rounds * self.size * (count - 1) / count * self.times


def collectives(program: str) -> list[Collective]:
    """The collectives of a compiled program, such as ``jitted.lower(...).compile().as_text()``.

    Loops count as often as they run where the program says so, else once; of the branches of a
    conditional, all count. An all-reduce of which a kernel of its own hands on a part is what TPUs
    have for a reduce-scatter; where an all-gather is under way during several kernels, each of them
    names it, and it counts once.
    """
    read = read_program(program)
    times = runs(read)
    kernels = {
        name
        for computation in read.computations.values()
        for call in computation.calls
        if " fusion(" in call.line
        for name in call.names
    }
    found: list[Collective] = []
    under_way: set[tuple[str, int, str]] = set()
    for name, computation in read.computations.items():
        for one, channel in _of_computation(computation, name in kernels):
            seen = (one.kind, one.size, channel)
            if name in kernels and channel and one.kind == "all-gather":
                if seen in under_way:
                    continue
                under_way.add(seen)
            found.append(one._replace(times=times[name]))
    return found


def buffer_bytes(found: list[Collective]) -> dict[str, int]:
    """Bytes of the buffers of each kind of collective that there is; see `Collective.size`."""
    totals: dict[str, int] = defaultdict(int)
    for one in found:
        totals[one.kind] += one.size * one.times
    return dict(totals)


def sent_bytes(found: list[Collective], devices: int) -> dict[str, float]:
    """Bytes that a device sends in each kind of collective; see `Collective.sent`."""
    totals: dict[str, float] = defaultdict(float)
    for one in found:
        totals[one.kind] += one.sent(devices)
    return dict(totals)


def _of_computation(computation: Computation, kernel: bool) -> list[tuple[Collective, str]]:
    """The collectives of a computation, with their channels."""
    parts = {m[1] for line in computation.lines if kernel and (m := _PART.search(line))}
    found = []
    for line in computation.lines:
        if (one := _collective(line, parts)) is not None:
            channel = _CHANNEL.search(line)
            found.append((one, channel[1] if channel else ""))
    return found


def _collective(line: str, parts: set[str]) -> Collective | None:
    match = _OPERATION.search(line)
    if match is None:
        return None
    name, result, kind, started = match.groups()
    sizes = [_bytes(*array) for array in arrays(result)]
    if started and result.startswith("("):
        # What a start returns has its operands before its results.
        sizes = sizes[len(sizes) // 2 :] if kind != "all-reduce" else sizes
    group = _group(line)
    size = sum(sizes) * (max(group, 1) if kind == "reduce-scatter" else 1)
    return Collective("reduce-scatter" if name in parts else kind, size, group, 1)


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
