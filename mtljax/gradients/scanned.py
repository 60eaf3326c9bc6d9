"""Per-task gradients, one task at a time in a compiled loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.gradients.problem import (
    Problem,
    encode_group,
    group_key,
    head_gradients,
    stack_trees,
    task_key,
    unstack_by_task,
)
from mtljax.gradients.same_shapes import why_heads_differ


class TaskResult(NamedTuple):
    """What one iteration of the loop computes.

    Attributes:
      loss: the loss of the task, a scalar.
      shared: its gradient with respect to the shared parameters, ``[*param]``.
      head: its gradient with respect to its head; empty where the heads differ in shape.
    """

    loss: jax.Array
    shared: Any
    head: Any


def scanned(problem: Problem) -> tuple[jax.Array, Any, dict[str, Any]]:
    """One trace for all groups, and the activations of one at a time; `lax.switch` picks a head.

    Args:
      problem: the problem, with T groups of one task and equal shapes.

    Returns:
      Losses ``[T]``, shared gradients ``[T, *param]``, head gradients by task.
    """
    _, results, heads = scan_tasks(problem, (), lambda index, carry, result: (carry, result))
    return results.loss, results.shared, heads


def scan_tasks(
    problem: Problem, carry: Any, keep: Callable[[Any, Any, TaskResult], tuple[Any, Any]]
) -> tuple[Any, Any, dict[str, Any]]:
    """Computes the gradients of one task after the other, in the order of the heads.

    Args:
      problem: the problem, with T groups of one task and equal shapes.
      carry: the first value of what is passed from task to task.
      keep: ``(index, carry, result) -> (carry, kept)``, called with the index of the task and its
        `TaskResult`; what it keeps is stacked.

    Returns:
      The last carry, what was kept ``[T, ...]``, head gradients by task.
    """
    tasks = list(problem.heads)
    group_of = {task: name for name, examples in problem.batch.items() for task in examples.targets}
    names = list(problem.batch)
    name = names[0]
    heads_stack = why_heads_differ(problem) is None
    inputs = stack_trees([problem.batch[group_of[task]].inputs for task in tasks])
    task_indices = jnp.arange(len(tasks))
    group_indices = jnp.array([names.index(group_of[task]) for task in tasks])
    targets = [problem.batch[group_of[task]].targets[task] for task in tasks]
    params = [problem.head_params[task] for task in tasks]

    # One task: a forward pass, its head, a backward pass. Heads that differ in shape have no
    # stacked gradients: these are carried, and each iteration replaces its own.
    def body(carried, task_arguments):
        carry, head_grads = carried
        index, group_index, inputs, *head_arguments = task_arguments
        key = group_key(problem, group_index)
        floating, vjp, others = jax.vjp(
            lambda shared: encode_group(problem, name, shared, inputs, key),
            problem.shared,
            has_aux=True,
        )
        if heads_stack:
            loss, head_grad, cotangent = head_gradients(
                problem,
                name,
                tasks[0],
                head_arguments[0],
                floating,
                others,
                head_arguments[1],
                task_key(problem, index),
            )
        else:
            head_grad = ()
            loss, cotangent, head_grads = jax.lax.switch(
                index, branches, floating, others, head_grads
            )
        (shared,) = vjp(cotangent)
        carry, kept = keep(index, carry, TaskResult(loss, shared, head_grad))
        return (carry, head_grads), (kept, head_grad)

    def branch(i):
        def run(floating, others, head_grads):
            loss, head_grad, cotangent = head_gradients(
                problem,
                name,
                tasks[i],
                params[i],
                floating,
                others,
                targets[i],
                task_key(problem, i),
            )
            head_grads = (*head_grads[:i], head_grad, *head_grads[i + 1 :])
            return loss.astype(dtype), cotangent, head_grads

        return run

    if heads_stack:
        arguments = (
            task_indices,
            group_indices,
            inputs,
            stack_trees(params),
            stack_trees(targets),
        )
        (carry, _), (kept, head_grads) = jax.lax.scan(body, (carry, ()), arguments)
        return carry, kept, unstack_by_task(head_grads, tasks)
    # Branches return one dtype, whatever the dtypes of the losses.
    dtype = jax.dtypes.canonicalize_dtype(float)
    branches = [branch(i) for i in range(len(tasks))]
    zeros = jax.tree.map(jnp.zeros_like, tuple(params))
    (carry, head_grads), (kept, _) = jax.lax.scan(
        body, (carry, zeros), (task_indices, group_indices, inputs)
    )
    return carry, kept, dict(zip(tasks, head_grads, strict=True))
