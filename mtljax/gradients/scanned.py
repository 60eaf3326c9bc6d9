"""Per-task gradients, one task at a time in a compiled loop."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.gradients.own_params import private_of, with_private_gradient
from mtljax.gradients.problem import (
    Aux,
    Problem,
    aux_zeros,
    group_key,
    head_gradients,
    stack_trees,
    task_key,
    unstack_by_task,
)
from mtljax.gradients.same_shapes import why_heads_differ
from mtljax.gradients.tables import encoder_vjp, sort_rows


class TaskResult(NamedTuple):
    """What one iteration of the loop computes.

    Attributes:
      loss: the loss of the task, a scalar.
      shared: its gradient with respect to the shared parameters, ``[*param]``; tables by rows as
        `encoder_vjp` has them.
      head: its gradient with respect to its head; empty where the heads differ in shape.
    """

    loss: jax.Array
    shared: Any
    head: Any


def scanned(
    problem: Problem, groups: Sequence[str] | None = None
) -> tuple[jax.Array, Any, dict[str, Any], Aux]:
    """One trace for all groups, and the activations of one at a time; `lax.switch` picks a head.

    Args:
      problem: the problem.
      groups: the n groups to compute, of one task each and of equal shapes; None for all.

    Returns:
      Losses ``[n]``, shared gradients ``[n, *param]``, head gradients by task, and what encoders
      and heads returned besides; in the order of the heads.
    """
    _, results, heads, aux = scan_tasks(
        problem, (), lambda index, carry, result: (carry, result), groups
    )
    return results.loss, results.shared, heads, aux


def scan_tasks(
    problem: Problem,
    carry: Any,
    keep: Callable[[Any, Any, TaskResult], tuple[Any, Any]],
    groups: Sequence[str] | None = None,
) -> tuple[Any, Any, dict[str, Any], Aux]:
    """Computes the gradients of one task after the other, in the order of the heads.

    Args:
      problem: the problem.
      carry: the first value of what is passed from task to task.
      keep: ``(index, carry, result) -> (carry, kept)``, called with the index of the task and its
        `TaskResult`; what it keeps is stacked.
      groups: the n groups to compute, of one task each and of equal shapes; None for all.

    Returns:
      The last carry, what was kept ``[n, ...]``, head gradients by task, and what encoders and
      heads returned besides.
    """
    all_tasks, names = list(problem.heads), list(problem.batch)
    groups = names if groups is None else groups
    group_of = {task: name for name in groups for task in problem.batch[name].targets}
    tasks = [task for task in all_tasks if task in group_of]
    name = group_of[tasks[0]]
    heads_stack = why_heads_differ(problem, tasks) is None
    inputs = stack_trees([problem.batch[group_of[task]].inputs for task in tasks])
    indices = [all_tasks.index(task) for task in tasks]
    task_indices, positions = jnp.array(indices), jnp.arange(len(tasks))
    group_indices = jnp.array([names.index(group_of[task]) for task in tasks])
    targets = [problem.batch[group_of[task]].targets[task] for task in tasks]
    params = [problem.head_params[task] for task in tasks]
    privates = stack_trees([private_of(of_task) for of_task in params])

    # One task: a forward pass, its head, a backward pass. What heads of different shapes return
    # cannot be stacked: it is carried, and each iteration replaces its own.
    def body(carried, task_arguments):
        carry, of_heads = carried
        position, index, group_index, inputs, private, *head_arguments = task_arguments
        key = group_key(problem, group_index)
        floating, vjp, encoded = encoder_vjp(problem, name, inputs, key, private)
        head_grad, aux = (), ()
        if heads_stack:
            loss, head_grad, cotangent, aux = head_gradients(
                problem,
                name,
                tasks[0],
                head_arguments[0],
                floating,
                encoded.others,
                head_arguments[1],
                task_key(problem, index),
            )
        else:
            loss, cotangent, of_heads = jax.lax.switch(
                position, branches, floating, encoded.others, of_heads
            )
        shared, *of_private = vjp(cotangent)
        carry, kept = keep(index, carry, TaskResult(loss, sort_rows(shared), head_grad))
        return (carry, of_heads), (kept, head_grad, tuple(of_private), (encoded.aux, aux))

    def branch(i):
        def run(floating, others, of_heads):
            loss, head_grad, cotangent, aux = head_gradients(
                problem,
                name,
                tasks[i],
                params[i],
                floating,
                others,
                targets[i],
                task_key(problem, indices[i]),
            )
            of_heads = (*of_heads[:i], (head_grad, aux), *of_heads[i + 1 :])
            return loss.astype(dtype), cotangent, of_heads

        return run

    def by_group(stacked):
        by_task = unstack_by_task(stacked, tasks)
        return {group_of[task]: by_task[task] for task in tasks}

    if heads_stack:
        arguments = (
            positions,
            task_indices,
            group_indices,
            inputs,
            privates,
            stack_trees(params),
            stack_trees(targets),
        )
        (carry, _), (kept, head_grads, of_private, aux) = jax.lax.scan(body, (carry, ()), arguments)
        head_grads = with_private_gradient(head_grads, of_private)
        encoder_aux, head_aux = aux
        aux = Aux(by_group(encoder_aux), unstack_by_task(head_aux, tasks))
        return carry, kept, unstack_by_task(head_grads, tasks), aux
    # Branches return one dtype, whatever the dtypes of the losses.
    dtype = jax.dtypes.canonicalize_dtype(float)
    branches = [branch(i) for i in range(len(tasks))]
    zeros = tuple(
        (jax.tree.map(jnp.zeros_like, head), aux_zeros(problem, group_of[task], task))
        for task, head in zip(tasks, params, strict=True)
    )
    (carry, of_heads), (kept, _, of_private, (encoder_aux, _)) = jax.lax.scan(
        body, (carry, zeros), (positions, task_indices, group_indices, inputs, privates)
    )
    of_private = unstack_by_task(of_private, tasks)
    head_grads = {
        task: with_private_gradient(grad, of_private[task])
        for task, (grad, _) in zip(tasks, of_heads, strict=True)
    }
    head_aux = {task: aux for task, (_, aux) in zip(tasks, of_heads, strict=True)}
    return carry, kept, head_grads, Aux(by_group(encoder_aux), head_aux)
