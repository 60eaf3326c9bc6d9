"""The heads of an input group on its features: one trace where they are alike."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.problem import (
    Problem,
    head_gradients,
    head_loss,
    stacked,
    stacked_params,
    task_key,
    unstacked,
)
from mtljax.gradients.same_shapes import unlike_heads


def group_tasks(problem: Problem, name: str) -> list[str]:
    """The tasks of a group, in the order of the heads."""
    return [task for task in problem.heads if task in problem.batch[name].targets]


def group_losses(problem: Problem, name: str, floating: Any, others: Any) -> jax.Array:
    """The losses of a group's tasks ``[n]`` on its features, as `encoded` returns them."""
    tasks, rows = _rows(problem, name)

    def one(task: str, row: Any) -> jax.Array:
        place, params, targets = row
        key = task_key(problem, place)
        return head_loss(problem, name, task, params, floating, others, targets, key)

    if _alike(problem, tasks):
        return jax.vmap(lambda row: one(tasks[0], row))(_as_one(rows))
    return jnp.stack([one(task, row) for task, row in zip(tasks, rows, strict=True)])


def group_head_gradients(
    problem: Problem, name: str, floating: Any, others: Any
) -> tuple[jax.Array, Any, dict[str, Any]]:
    """The losses of a group's tasks, and what `head_gradients` says of each.

    Returns:
      Losses ``[n]``, gradients of the features ``[n, *feature]``, head gradients by task.
    """
    tasks, rows = _rows(problem, name)

    def one(task: str, row: Any) -> tuple[jax.Array, Any, Any]:
        place, params, targets = row
        key = task_key(problem, place)
        return head_gradients(problem, name, task, params, floating, others, targets, key)

    if _alike(problem, tasks):
        losses, own, slopes = jax.vmap(lambda row: one(tasks[0], row))(_as_one(rows))
        return losses, slopes, unstacked(own, tasks)
    found = [one(task, row) for task, row in zip(tasks, rows, strict=True)]
    losses = jnp.stack([loss for loss, _, _ in found])
    slopes = stacked([slope for _, _, slope in found])
    return losses, slopes, {task: own for task, (_, own, _) in zip(tasks, found, strict=True)}


def pulled_back(pull_back: Callable[[Any], tuple[Any]], slopes: Any) -> Any:
    """The gradient of each task, of what the tasks say of the features that they share.

    Args:
      pull_back: of `jax.vjp`, in the shared parameters alone.
      slopes: gradients of the features, ``[n, *feature]``.

    Returns:
      Gradients of the shared parameters, ``[n, *param]``.
    """
    if jax.tree.leaves(slopes)[0].shape[0] == 1:
        (row,) = pull_back(jax.tree.map(lambda leaf: leaf[0], slopes))
        return jax.tree.map(lambda leaf: leaf[None], row)
    return jax.lax.platform_dependent(
        slopes,
        # What one task needs stays in the cache, and each gradient is written in its place: batched
        # ones come transposed, and every reader on a CPU would have them copied.
        cpu=lambda slopes: jax.lax.map(lambda slope: pull_back(slope)[0], slopes),
        default=lambda slopes: jax.vmap(pull_back)(slopes)[0],
    )


def in_order(order: list[str], found: list[str], tree: Any) -> Any:
    """Rows ``[T, ...]`` of tasks in the order that they were found, in that of the heads."""
    if found == order:
        return tree
    places = jnp.array([found.index(task) for task in order])
    return jax.tree.map(lambda leaf: leaf[places], tree)


def _rows(problem: Problem, name: str) -> tuple[list[str], list[Any]]:
    order, tasks = list(problem.heads), group_tasks(problem, name)
    targets = problem.batch[name].targets
    return tasks, [(order.index(t), problem.head_params[t], targets[t]) for t in tasks]


def _as_one(rows: list[Any]) -> Any:
    places, params, targets = map(list, zip(*rows, strict=True))
    return jnp.array(places), stacked_params(params), stacked(targets)


def _alike(problem: Problem, tasks: list[str]) -> bool:
    return len(tasks) > 1 and unlike_heads(problem, tasks) is None
