"""Which parameters have gradients: real numbers of floating point alone."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.problem import Problem


def check_differentiable(problem: Problem) -> None:
    """Checks that all parameters are real numbers of floating point, which alone have gradients.

    Raises:
      TypeError: a leaf is not; the message names the task and the path of the leaf.
    """
    check_floating("shared", problem.shared)
    for task, params in problem.head_params.items():
        check_floating(f"head_params of task {task!r}", params)


def check_floating(what: str, params: Any) -> None:
    """Raises TypeError, with `what` and the path, if a leaf is not real floating point."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise TypeError(
                f"{what}: leaf {name!r} must be floating point, got {dtype}; what is not "
                "differentiated goes with the inputs or the targets"
            )
