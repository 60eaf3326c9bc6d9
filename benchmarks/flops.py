"""FLOPs of a program, for the benchmarks beside this file."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def matmul_flops(jaxpr: Any, branch: Callable[[Iterable[float]], float] = max) -> float:
    """FLOPs of the matrix products of a program; a loop's times its trips, of branches one.

    Of code for several platforms, the branch with most: another may multiply in other words.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        inner = [
            matmul_flops(getattr(part, "jaxpr", part), branch)
            for value in equation.params.values()
            for part in (value if isinstance(value, tuple | list) else (value,))
            if hasattr(part, "eqns") or hasattr(part, "jaxpr")
        ]
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            depth = np.prod([left[i] for i in contracted])
            total += 2.0 * np.prod(equation.outvars[0].aval.shape) * depth
        elif equation.primitive.name == "scan":
            total += equation.params["length"] * sum(inner)
        elif equation.primitive.name == "cond":
            total += (max if equation.params.get("branches_platforms") else branch)(inner)
        else:
            total += sum(inner)
    return total
