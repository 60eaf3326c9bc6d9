"""The heads of an input group on its features, and VJPs of a shared encoder, one per task.

Heads that are one function with parameters of equal shapes are traced once, under `jax.vmap`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.own_params import OwnParams, with_private_gradient
from mtljax.gradients.problem import (
    HeadResult,
    Problem,
    head_gradients,
    head_loss,
    stack_params,
    stack_trees,
    task_key,
    unstack_by_task,
)
from mtljax.gradients.row_gradients import is_rows
from mtljax.gradients.same_shapes import why_heads_differ
from mtljax.gradients.task_axis import take_tasks


def group_tasks(problem: Problem, name: str) -> list[str]:
    """The tasks of a group, in the order of the heads."""
    return [task for task in problem.heads if task in problem.batch[name].targets]


def group_losses(
    problem: Problem, name: str, floating: Any, others: Any
) -> tuple[jax.Array, dict[str, Any]]:
    """The losses ``[n]`` of a group's tasks on its features, and what the heads return besides."""
    tasks, arguments = _head_arguments(problem, name)

    def loss_of(task: str, argument: Any) -> tuple[jax.Array, Any]:
        index, params, targets = argument
        key = task_key(problem, index)
        return head_loss(problem, name, task, params, floating, others, targets, key)

    if _can_stack(problem, tasks):
        losses, aux = jax.vmap(lambda argument: loss_of(tasks[0], argument))(_stacked(arguments))
        return losses, unstack_by_task(aux, tasks)
    results = [loss_of(*pair) for pair in zip(tasks, arguments, strict=True)]
    aux_of = {task: aux for task, (_, aux) in zip(tasks, results, strict=True)}
    return jnp.stack([loss for loss, _ in results]), aux_of


def group_head_gradients(
    problem: Problem, name: str, floating: Any, others: Any
) -> tuple[jax.Array, Any, dict[str, Any], dict[str, Any]]:
    """The losses of a group's tasks, and their gradients with respect to features and heads.

    Args:
      problem: the problem.
      name: the name of the input group, which has n tasks.
      floating: the differentiated leaves of its features, as `encode_group` returns them.
      others: the other leaves of its features.

    Returns:
      Losses ``[n]``, cotangents of the features ``[n, *feature]``, head gradients by task, and by
      task what its head returned besides the loss.
    """
    tasks, arguments = _head_arguments(problem, name)

    def gradients_of(task: str, argument: Any) -> HeadResult:
        index, params, targets = argument
        key = task_key(problem, index)
        return head_gradients(problem, name, task, params, floating, others, targets, key)

    if _can_stack(problem, tasks):
        stacked = jax.vmap(lambda argument: gradients_of(tasks[0], argument))(_stacked(arguments))
        head_grads = unstack_by_task(stacked.gradient, tasks)
        return stacked.loss, stacked.cotangent, head_grads, unstack_by_task(stacked.aux, tasks)
    results = {
        task: gradients_of(task, argument) for task, argument in zip(tasks, arguments, strict=True)
    }
    return (
        jnp.stack([result.loss for result in results.values()]),
        stack_trees([result.cotangent for result in results.values()]),
        {task: result.gradient for task, result in results.items()},
        {task: result.aux for task, result in results.items()},
    )


def vjp_of_group(
    vjp: Callable[[Any], tuple[Any, ...]], cotangents: Any, head_grads: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The shared gradients ``[n, *param]`` of a group's tasks, and those of what is their own.

    Args:
      vjp: of the encoder of the group, see `encoder_vjp`.
      cotangents: of the features, ``[n, *feature]``.
      head_grads: of the heads by task; of `OwnParams` with zeros for the private part.

    Returns:
      As `vjp_per_task`; and `head_grads`, with the private part of a task that has one.
    """
    if not any(isinstance(gradient, OwnParams) for gradient in head_grads.values()):
        return vjp_per_task(vjp, cotangents), head_grads
    ((task, gradient),) = head_grads.items()
    shared, *of_private = vjp(jax.tree.map(lambda leaf: leaf[0], cotangents))
    shared = jax.tree.map(lambda leaf: leaf[None], shared)
    return shared, {task: with_private_gradient(gradient, tuple(of_private))}


def vjp_per_task(vjp: Callable[[Any], tuple[Any, ...]], cotangents: Any) -> Any:
    """The gradients of several tasks that share the features of one encoder pass.

    Args:
      vjp: from a cotangent of the features to a tuple of one, the gradient of the shared
        parameters, as `jax.vjp` returns it.
      cotangents: the gradients of n losses with respect to the features, ``[n, *feature]``.

    Returns:
      Gradients of the shared parameters, ``[n, *param]``.
    """
    if jax.tree.leaves(cotangents)[0].shape[0] == 1:
        (gradient,) = vjp(jax.tree.map(lambda leaf: leaf[0], cotangents))
        return jax.tree.map(lambda leaf: leaf[None], gradient)
    return jax.lax.platform_dependent(
        cotangents,
        # One task after the other: what one needs stays in the cache, and each gradient is written
        # where it stays. Batched gradients come out transposed, and every reader would copy them.
        cpu=lambda cotangents: jax.lax.map(lambda cotangent: vjp(cotangent)[0], cotangents),
        default=lambda cotangents: jax.vmap(vjp)(cotangents)[0],
    )


def in_task_order(tasks: list[str], computed: list[str], tree: Any) -> Any:
    """Reorders leaves ``[T, ...]`` from the order of `computed` to that of `tasks`."""
    if computed == tasks:
        return tree
    indices = [computed.index(task) for task in tasks]
    return jax.tree.map(lambda leaf: take_tasks(leaf, indices), tree, is_leaf=is_rows)


def _head_arguments(problem: Problem, name: str) -> tuple[list[str], list[Any]]:
    """The tasks of a group, and for each its index among all, its parameters and its targets."""
    all_tasks, tasks = list(problem.heads), group_tasks(problem, name)
    targets = problem.batch[name].targets
    return tasks, [(all_tasks.index(t), problem.head_params[t], targets[t]) for t in tasks]


def _stacked(arguments: list[Any]) -> Any:
    indices, params, targets = map(list, zip(*arguments, strict=True))
    return jnp.array(indices), stack_params(params), stack_trees(targets)


def _can_stack(problem: Problem, tasks: list[str]) -> bool:
    return len(tasks) > 1 and why_heads_differ(problem, tasks) is None
