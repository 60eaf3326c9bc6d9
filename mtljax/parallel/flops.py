"""The FLOPs of the matrix products of a compiled program, read from its text.

XLA's own analysis counts the body of a loop once, however often it runs; layers are a loop.
"""

import math
import re

from mtljax.parallel.program import Computation, Program, arrays, read_program, result

_OPERANDS = re.compile(r" (?:dot|convolution)\(([^)]*)\)")
_NAMES = re.compile(r"%([\w.\-]+)")
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_LABELS = re.compile(r"dim_labels=([\w?]+)_([\w?]+)->([\w?]+)")
_GROUPS = re.compile(r"(feature|batch)_group_count=(\d+)")
_WINDOW = re.compile(r"window=\{([^}]*)\}")

Shape = tuple[int, ...]


def matmul_flops(program: str) -> float:
    """FLOPs of the matrix products of a device's program, two for each multiplication.

    Loops count as often as they run where the program says so, else once; of the branches of a
    conditional, the costliest counts.

    Args:
      program: text of one device, such as ``jitted.lower(...).compile().as_text()``.

    Returns:
      FLOPs of a call.
    """
    read = read_program(program)
    counted: dict[str, float] = {}
    return _with_calls(read, read.entry, counted) if read.entry else 0.0


def _with_calls(program: Program, name: str, counted: dict[str, float]) -> float:
    """FLOPs of a computation and of those that it calls; `counted` has those counted before."""
    if name not in counted:
        computation = program.computations.get(name)
        counted[name] = 0.0
        if computation is not None:
            counted[name] = _without_calls(computation)
            for call in computation.calls:
                inner = [_with_calls(program, callee, counted) for callee in call.names]
                counted[name] += call.times * (max(inner) if call.branch else sum(inner))
    return counted[name]


def _without_calls(computation: Computation) -> float:
    products, shapes = [], {}
    for line in computation.lines:
        made = result(line)
        if made is None:
            continue
        if made.arrays:
            shapes[made.name] = made.arrays[0][1]
        if made.operation in ("dot", "convolution"):
            products.append((line, made.operation))
    return sum(
        (_dot if operation == "dot" else _convolution)(line, *_shapes(line, shapes))
        for line, operation in products
    )


def _shapes(line: str, shapes: dict[str, Shape]) -> tuple[Shape, Shape, Shape]:
    """The shapes of a line's result and two operands, whose types may be on lines before it."""
    operands = _OPERANDS.search(line)
    made = result(line)
    assert operands is not None and made is not None
    inputs = [shape for _, shape in arrays(operands[1])]
    if len(inputs) != 2:
        inputs = [shapes[name] for name in _NAMES.findall(operands[1])]
    return made.arrays[0][1], inputs[0], inputs[1]


def _dot(line: str, out: Shape, left: Shape, right: Shape) -> float:
    del right
    contracted = _CONTRACTED.search(line)
    dims = contracted[1].split(",") if contracted else []
    return 2.0 * math.prod(out) * math.prod(left[int(dim)] for dim in dims if dim)


def _convolution(line: str, out: Shape, left: Shape, right: Shape) -> float:
    """As XLA counts: positions of the window that meet an element, times what it sums there.

    A TPU's dot is a convolution, a dimension of a batch one over which a window of that size slides
    that meets one number at each place.
    """
    labels = _LABELS.search(line)
    assert labels is not None
    lhs, rhs, made = labels.groups()
    groups = {kind: int(count) for kind, count in _GROUPS.findall(line)}
    window = _WINDOW.search(line)
    fields = dict(part.split("=") for part in window[1].split()) if window else {}
    places = 1
    for at, label in enumerate(sorted(c for c in rhs if c.isdigit())):

        def field(name: str, default: str, at: int = at) -> str:
            return fields[name].split("x")[at] if name in fields else default

        places *= _valid_places(
            base=left[lhs.index(label)],
            out=out[made.index(label)],
            window=int(field("size", "1")),
            stride=int(field("stride", "1")),
            low=int(field("pad", "0_0").split("_")[0]),
            base_dilation=int(field("lhs_dilate", "1")),
            window_dilation=int(field("rhs_dilate", "1")),
        )
    batch = left[lhs.index("b")] // groups.get("batch", 1)
    summed = left[lhs.index("f")] // groups.get("feature", 1)
    return 2.0 * batch * summed * right[rhs.index("o")] * places


def _valid_places(
    base: int,
    out: int,
    window: int,
    stride: int,
    low: int,
    base_dilation: int,
    window_dilation: int,
) -> int:
    """Pairs of a place of the window and a number in it that is neither padding nor a hole."""
    last = (base - 1) * base_dilation
    if base_dilation == 1 and window_dilation == 1 and stride == 1:
        # Window k meets places o with 0 <= o - low + k <= last: an interval for each k.
        return sum(
            max(0, min(out - 1, last + low - k) - max(0, low - k) + 1) for k in range(window)
        )
    return sum(
        1
        for k in range(window)
        for o in range(out)
        if 0 <= (at := o * stride - low + k * window_dilation) <= last and at % base_dilation == 0
    )
