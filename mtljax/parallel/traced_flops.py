"""The FLOPs of the matrix products of a program as it was traced: what its mathematics asks for."""

import math
from collections.abc import Callable, Iterable
from typing import Any


def traced_flops(jaxpr: Any, branch: Callable[[Iterable[float]], float] = max) -> float:
    """FLOPs of the matrix products of a traced program, two for each multiplication.

    A loop's count as often as it runs, if it is a scan, else once; of the branches of a conditional
    one. Of code for several platforms it is the branch with most: another may multiply in other
    words.

    Args:
      jaxpr: what ``jax.make_jaxpr(f)(...)`` returns, or its ``jaxpr``.
      branch: of the FLOPs of a conditional's branches, those that count.

    Returns:
      FLOPs of a call, of all devices together.

    >>> import jax
    >>> import numpy as np
    >>> traced_flops(jax.make_jaxpr(lambda a: a @ a)(np.ones((4, 4))))
    128.0
    """
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    total = 0.0
    for equation in jaxpr.eqns:
        inner = [
            traced_flops(part, branch)
            for value in equation.params.values()
            for part in (value if isinstance(value, tuple | list) else (value,))
            if hasattr(part, "eqns") or hasattr(part, "jaxpr")
        ]
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            depth = math.prod(left[i] for i in contracted)
            total += 2.0 * math.prod(equation.outvars[0].aval.shape) * depth
        elif equation.primitive.name == "scan":
            total += equation.params["length"] * sum(inner)
        elif equation.primitive.name == "cond":
            total += (max if equation.params.get("branches_platforms") else branch)(inner)
        else:
            total += sum(inner)
    return total
