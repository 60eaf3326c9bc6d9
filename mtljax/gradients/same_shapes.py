"""Whether input groups, and heads, are alike, so that one trace serves all."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.problem import Problem


def unlike_groups(problem: Problem) -> str | None:
    """Why the groups cannot be stacked, or None: one task each, equal shapes, one encoder."""
    names = list(problem.batch)
    first = names[0]
    for name in names:
        tasks = list(problem.batch[name].targets)
        if len(tasks) > 1:
            return f"tasks {', '.join(map(repr, tasks))} read one batch, of group {name!r}"
        if problem.encode[name] is not problem.encode[first]:
            return f"groups {first!r} and {name!r} have encoders of their own"
        why = unlike_inputs(problem.batch[first].inputs, problem.batch[name].inputs)
        if why:
            return f"inputs of groups {first!r} and {name!r} differ: {why}"
    return None


def unlike_heads(problem: Problem, tasks: Iterable[str] | None = None) -> str | None:
    """Why the heads, of all tasks or of these, cannot be stacked, or None: one function, shapes."""
    owners = {task: group for group, rows in problem.batch.items() for task in rows.targets}
    tasks = list(problem.heads if tasks is None else tasks)
    first = tasks[0]
    for task in tasks:
        if problem.heads[task] is not problem.heads[first]:
            return f"tasks {first!r} and {task!r} have heads of their own"
        why = unlike_inputs(problem.head_params[first], problem.head_params[task]) or unlike_inputs(
            problem.batch[owners[first]].targets[first], problem.batch[owners[task]].targets[task]
        )
        if why:
            return f"tasks {first!r} and {task!r} differ: {why}"
    return None


def unlike_inputs(one: Any, other: Any) -> str | None:
    """In what the structures, shapes or dtypes of two trees differ, or None."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return f"trees {jax.tree.structure(one)} and {jax.tree.structure(other)}"
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if jnp.shape(a) != jnp.shape(b) or jnp.result_type(a) != jnp.result_type(b):
            return (
                f"{jnp.result_type(a)}{list(jnp.shape(a))} and "
                f"{jnp.result_type(b)}{list(jnp.shape(b))}"
            )
    return None
