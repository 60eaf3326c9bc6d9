"""Per-task gradients, one input group after the other."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.problem import Problem, encoded, group_key, head_gradients, task_key


def unrolled(problem: Problem) -> tuple[jax.Array, Any, dict[str, Any]]:
    """Groups of any shapes; the backward passes of one group's tasks are batched.

    Returns:
      Losses ``[T]``, shared gradients ``[T, *param]``, head gradients by task.
    """
    order = list(problem.heads)
    losses: dict[str, jax.Array] = {}
    heads: dict[str, Any] = {}
    blocks, found = [], []
    for place, name in enumerate(problem.batch):
        pull_back, of_tasks = _group(problem, place, name)
        slopes = []
        for task, loss, slope, own in of_tasks:
            losses[task], heads[task] = loss, own
            slopes.append(slope)
            found.append(task)
        if len(slopes) == 1:
            (rows,) = pull_back(slopes[0])
            rows = jax.tree.map(lambda leaf: leaf[None], rows)
        else:
            (rows,) = jax.vmap(pull_back)(stacked(slopes))
        blocks.append(rows)
    shared = blocks[0]
    if len(blocks) > 1:
        shared = jax.tree.map(lambda *rows: jnp.concatenate(rows), *blocks)
    if found != order:
        places = jnp.array([found.index(task) for task in order])
        shared = jax.tree.map(lambda leaf: leaf[places], shared)
    in_order = jnp.stack([losses[task] for task in order])
    return in_order, shared, {task: heads[task] for task in order}


def each_task(problem: Problem) -> Iterator[tuple[str, jax.Array, Any, Any]]:
    """Task after task: its name, loss, gradient of the shared parameters, gradient of its head."""
    for place, name in enumerate(problem.batch):
        pull_back, of_tasks = _group(problem, place, name)
        for task, loss, slope, own in of_tasks:
            (row,) = pull_back(slope)
            yield task, loss, row, own


def _group(problem: Problem, place: int, name: str) -> tuple[Callable[..., Any], list[Any]]:
    """The way back through the encoder for a group; name, loss, slope and head gradient by task."""
    examples, key, order = problem.batch[name], group_key(problem, place), list(problem.heads)
    floating, pull_back, others = jax.vjp(
        lambda shared: encoded(problem, name, shared, examples.inputs, key),
        problem.shared,
        has_aux=True,
    )
    found = []
    for task in order:
        if task in examples.targets:
            loss, own, slope = head_gradients(
                problem,
                name,
                task,
                problem.head_params[task],
                floating,
                others,
                examples.targets[task],
                task_key(problem, order.index(task)),
            )
            found.append((task, loss, slope, own))
    return pull_back, found


def stacked(trees: list[Any]) -> Any:
    """Trees of equal shapes as one, with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
