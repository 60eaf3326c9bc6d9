"""Why input groups, or heads, cannot be stacked along an axis of tasks and traced once."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.problem import Problem, shapes_of


def why_groups_differ(problem: Problem) -> str | None:
    """Why the input groups cannot be stacked.

    Args:
      problem: the problem.

    Returns:
      None if they can: each has one task, all have one encoder and inputs of equal shapes. Else the
      first reason, which names the tasks or groups.
    """
    names = list(problem.batch)
    first = names[0]
    for name in names:
        tasks = list(problem.batch[name].targets)
        if len(tasks) > 1:
            return f"tasks {', '.join(map(repr, tasks))} read one batch, of group {name!r}"
        if problem.encode[name] is not problem.encode[first]:
            return f"groups {first!r} and {name!r} have encoders of their own"
        why = why_trees_differ(problem.batch[first].inputs, problem.batch[name].inputs)
        if why:
            return f"inputs of groups {first!r} and {name!r} differ: {why}"
    return None


def why_heads_differ(problem: Problem, tasks: Iterable[str] | None = None) -> str | None:
    """Why the heads of some tasks cannot be stacked.

    Args:
      problem: the problem.
      tasks: the names of the tasks; None for all.

    Returns:
      None if they can: all are one function, with parameters and targets of equal shapes. Else the
      first reason, which names two tasks.
    """
    group_of = {task: name for name, examples in problem.batch.items() for task in examples.targets}
    tasks = list(problem.heads if tasks is None else tasks)
    first = tasks[0]
    for task in tasks:
        if problem.heads[task] is not problem.heads[first]:
            return f"tasks {first!r} and {task!r} have heads of their own"
        why = why_trees_differ(
            problem.head_params[first], problem.head_params[task]
        ) or why_trees_differ(
            problem.batch[group_of[first]].targets[first],
            problem.batch[group_of[task]].targets[task],
        )
        if why:
            return f"tasks {first!r} and {task!r} differ: {why}"
    return None


def alike_groups(problem: Problem) -> list[list[str]]:
    """The input groups in sets that can be traced as one, as few as there can be.

    Args:
      problem: the problem.

    Returns:
      Sets of groups, which together have every group once, in their order. Groups of one set have
      one task each, one encoder, inputs of equal shapes, and one function as heads, whose
      parameters and targets have equal shapes.
    """
    sets: dict[Any, list[str]] = {}
    for name, examples in problem.batch.items():
        key: Any = name
        if len(examples.targets) == 1:
            ((task, targets),) = examples.targets.items()
            shapes = shapes_of((examples.inputs, problem.head_params[task], targets))
            # By identity: what is traced for a set is the function of its first group.
            key = (id(problem.encode[name]), id(problem.heads[task]), shapes)
        sets.setdefault(key, []).append(name)
    return list(sets.values())


def why_trees_differ(first: Any, second: Any) -> str | None:
    """The first difference in structure, shape or dtype of two trees of arrays; None if none."""
    if jax.tree.structure(first) != jax.tree.structure(second):
        return f"trees {jax.tree.structure(first)} and {jax.tree.structure(second)}"
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        if jnp.shape(a) != jnp.shape(b) or jnp.result_type(a) != jnp.result_type(b):
            return (
                f"{jnp.result_type(a)}{list(jnp.shape(a))} and "
                f"{jnp.result_type(b)}{list(jnp.shape(b))}"
            )
    return None
