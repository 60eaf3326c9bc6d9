"""Per-task gradients, one task at a time in a compiled loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.gradients.problem import (
    Problem,
    encoded,
    group_key,
    head_gradients,
    stacked,
    task_key,
    unstacked,
)
from mtljax.gradients.same_shapes import unlike_heads


class OneTask(NamedTuple):
    """What the loop finds for a task; `head` is empty where the heads are unlike."""

    loss: jax.Array
    shared: Any
    head: Any


def scanned(problem: Problem) -> tuple[jax.Array, Any, dict[str, Any]]:
    """One trace for all groups, and the activations of one at a time; unlike heads are switched.

    Returns:
      Losses ``[T]``, shared gradients ``[T, *param]``, head gradients by task.
    """
    _, found, heads = scan_tasks(problem, (), lambda place, carry, one: (carry, one))
    return found.loss, found.shared, heads


def scan_tasks(
    problem: Problem, carry: Any, keep: Callable[[Any, Any, OneTask], tuple[Any, Any]]
) -> tuple[Any, Any, dict[str, Any]]:
    """Goes through the tasks in their order, which has groups of one task and equal shapes.

    Args:
      problem: what is differentiated.
      carry: handed from task to task.
      keep: ``(place, carry, one) -> (carry, kept)``; what it keeps is stacked.

    Returns:
      The last carry, what was kept ``[T, ...]``, head gradients by task.
    """
    order = list(problem.heads)
    groups = {task: name for name, rows in problem.batch.items() for task in rows.targets}
    names = list(problem.batch)
    name = names[0]
    alike = unlike_heads(problem) is None
    inputs = stacked([problem.batch[groups[task]].inputs for task in order])
    places = jnp.arange(len(order))
    group_places = jnp.array([names.index(groups[task]) for task in order])
    targets = [problem.batch[groups[task]].targets[task] for task in order]
    params = [problem.head_params[task] for task in order]

    def body(carried, row):
        carry, head_grads = carried
        place, group_place, inputs, *rest = row
        key = group_key(problem, group_place)
        floating, pull_back, others = jax.vjp(
            lambda shared: encoded(problem, name, shared, inputs, key), problem.shared, has_aux=True
        )
        if alike:
            loss, own, slope = head_gradients(
                problem,
                name,
                order[0],
                rest[0],
                floating,
                others,
                rest[1],
                task_key(problem, place),
            )
        else:
            own = ()
            loss, slope, head_grads = jax.lax.switch(place, branches, floating, others, head_grads)
        (shared,) = pull_back(slope)
        carry, kept = keep(place, carry, OneTask(loss, shared, own))
        return (carry, head_grads), (kept, own)

    def branch(i):
        def run(floating, others, head_grads):
            loss, own, slope = head_gradients(
                problem,
                name,
                order[i],
                params[i],
                floating,
                others,
                targets[i],
                task_key(problem, i),
            )
            return loss.astype(dtype), slope, (*head_grads[:i], own, *head_grads[i + 1 :])

        return run

    if alike:
        rows = (places, group_places, inputs, stacked(params), stacked(targets))
        (carry, _), (kept, heads) = jax.lax.scan(body, (carry, ()), rows)
        return carry, kept, unstacked(heads, order)
    dtype = jax.dtypes.canonicalize_dtype(float)
    branches = [branch(i) for i in range(len(order))]
    zeros = jax.tree.map(jnp.zeros_like, tuple(params))
    (carry, heads), (kept, _) = jax.lax.scan(body, (carry, zeros), (places, group_places, inputs))
    return carry, kept, dict(zip(order, heads, strict=True))
