"""The computations of a compiled program, and how often each runs, read from its text."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(
    r"(body|to_apply|calls|true_computation|false_computation|called_computations"
    r"|branch_computations)=(\{[^}]*\}|%[\w.\-]+)"
)
_BRANCHES = ("true_computation", "false_computation", "branch_computations")
_NAME = re.compile(r"%?([\w.\-]+)")
_TRIPS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_LIMIT = re.compile(r"ROOT .* compare\(%[\w.\-]+, (%[\w.\-]+)\), direction=LT")
_INTEGER = re.compile(r"^ *(%[\w.\-]+) = s\d+\[\]\S* constant\((\d+)\)")
_RESULT = re.compile(r"^ *(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\(")
_ARRAY = re.compile(r"([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")


class Call(NamedTuple):
    """One line of a computation that runs others.

    Attributes:
      names: of the others.
      times: how often a run of the line runs each.
      branch: whether it runs one of them only.
      line: as it is.
    """

    names: tuple[str, ...]
    times: int
    branch: bool
    line: str


class Computation(NamedTuple):
    """One computation of a program.

    Attributes:
      lines: its instructions.
      calls: those of them that run other computations.
    """

    lines: list[str]
    calls: list[Call]


class Program(NamedTuple):
    """The computations by name, and the name of the one where the program begins."""

    entry: str
    computations: Mapping[str, Computation]


class Result(NamedTuple):
    """What an instruction makes: its name, its arrays as ``(dtype, shape)``, and by what."""

    name: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]
    operation: str


def read_program(text: str) -> Program:
    """Reads a compiled program, such as ``jitted.lower(...).compile().as_text()``."""
    lines: dict[str, list[str]] = {}
    entry, name = "", ""
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            name = head[2]
            entry = name if head[1] else entry
            lines[name] = []
        elif name:
            lines[name].append(line)
    computations = {
        name: Computation(body, [call for line in body if (call := _call(line, lines)) is not None])
        for name, body in lines.items()
    }
    return Program(entry, computations)


def runs(program: Program) -> dict[str, int]:
    """How often each computation runs in a call of the program.

    Loops count as often as they run where the program says so, else once; of the branches of a
    conditional, all count.
    """
    callers: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, computation in program.computations.items():
        for call in computation.calls:
            for other in call.names:
                callers[other].append((name, call.times))
    times: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in times:
            times[name] = 1 if name == program.entry else 0
            times[name] += sum(of(caller) * trips for caller, trips in callers[name])
        return times[name]

    return {name: of(name) for name in program.computations}


def result(line: str) -> Result | None:
    """What a line makes, None if it is no instruction.

    >>> result("  ROOT %dot.3 = f32[8,4]{1,0} dot(%a, %b), lhs_contracting_dims={1}")
    Result(name='dot.3', arrays=(('f32', (8, 4)),), operation='dot')
    """
    match = _RESULT.match(line)
    if match is None:
        return None
    return Result(match[1], arrays(match[2]), match[3])


def arrays(text: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The arrays of a type, as ``(dtype, shape)``.

    >>> arrays("(f32[8,4]{1,0}, pred[])")
    (('f32', (8, 4)), ('pred', ()))
    """
    return tuple(
        (dtype, tuple(int(n) for n in shape.split(",") if n))
        for dtype, shape in _ARRAY.findall(text)
    )


def _call(line: str, lines: Mapping[str, list[str]]) -> Call | None:
    called = _CALLED.findall(line)
    names = tuple(name for _, group in called for name in _NAME.findall(group))
    if not names:
        return None
    kinds = {kind for kind, _ in called}
    times = _trips(line, lines) if "body" in kinds else 1
    return Call(names, times, bool(kinds & set(_BRANCHES)), line)


def _trips(line: str, lines: Mapping[str, list[str]]) -> int:
    """Trips of a loop: as XLA notes them, else the limit that its counter is compared with."""
    if trips := _TRIPS.search(line):
        return int(trips[1])
    condition = _CONDITION.search(line)
    body = lines.get(condition[1], []) if condition else []
    integers = {match[1]: match[2] for line in body if (match := _INTEGER.match(line))}
    for line in body:
        if (limit := _LIMIT.search(line)) and limit[1] in integers:
            return int(integers[limit[1]])
    return 1
