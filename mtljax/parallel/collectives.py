"""What the devices of a compiled program send each other, read from its text."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

KINDS = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")

_OPERATION = re.compile(rf"= (.+?) ({'|'.join(KINDS)})(-start)?\(")
_ARRAY = re.compile(r"([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(
    r"(?:body|to_apply|calls|true_computation|false_computation|called_computations"
    r"|branch_computations)=(\{[^}]*\}|%[\w.\-]+)"
)
_TRIPS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
_GROUPS = re.compile(r"replica_groups=(\{\{[^}]*\}|\{\}|\[[\d,]+\]|mesh\[([^\]]*)\] \{([^}]*)\})")
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

    Loops count as often as they run where XLA knows that, else once; of the branches of a
    conditional, all count.
    """
    callers: dict[str, list[tuple[str, int]]] = defaultdict(list)
    found: list[tuple[str, Collective]] = []
    entry = ""
    for name, is_entry, line in _lines(program):
        entry = name if is_entry else entry
        for called in _CALLED.findall(line):
            trips = _TRIPS.search(line) if "body=" in line else None
            for other in re.findall(r"%?([\w.\-]+)", called):
                callers[other].append((name, int(trips[1]) if trips else 1))
        if (one := _collective(line)) is not None:
            found.append((name, one))
    times: dict[str, int] = {}

    def runs(name: str) -> int:
        if name not in times:
            times[name] = 1 if name == entry else 0
            times[name] += sum(runs(caller) * trips for caller, trips in callers[name])
        return times[name]

    return [one._replace(times=runs(name)) for name, one in found]


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


def _lines(program: str) -> Iterator[tuple[str, bool, str]]:
    """Each line of each computation, with its name and whether the program begins there."""
    name, is_entry = "", False
    for line in program.splitlines():
        if head := _COMPUTATION.match(line):
            name, is_entry = head[2], bool(head[1])
        else:
            yield name, is_entry, line


def _collective(line: str) -> Collective | None:
    match = _OPERATION.search(line)
    if match is None:
        return None
    result, kind, started = match.groups()
    arrays = [_bytes(*array) for array in _ARRAY.findall(result)]
    if started and result.startswith("("):
        # What a start returns has its operands before its results.
        arrays = arrays[len(arrays) // 2 :] if kind != "all-reduce" else arrays
    group = _group(line)
    size = sum(arrays) * (max(group, 1) if kind == "reduce-scatter" else 1)
    return Collective(kind, size, group, 1)


def _bytes(dtype: str, shape: str) -> int:
    bits = 8 if dtype == "pred" else int((_BITS.search(dtype) or ["0"])[0])
    return math.prod(int(n) for n in shape.split(",") if n) * bits // 8


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
