"""Per-task gradients, one input group after the other, or one set of alike ones after the other."""

from collections.abc import Callable
from typing import Any

import jax

from mtljax.gradients.group_heads import group_head_gradients, in_task_order, vjp_of_group
from mtljax.gradients.problem import Aux, Problem, group_key, private_of_group
from mtljax.gradients.same_shapes import alike_groups
from mtljax.gradients.scanned import TaskResult, scan_tasks
from mtljax.gradients.tables import encoder_vjp, join_blocks, sort_rows


def unrolled(problem: Problem) -> tuple[jax.Array, Any, dict[str, Any], Aux]:
    """Groups of any shapes; the backward passes of one group's tasks are traced once.

    Args:
      problem: the problem, with T tasks.

    Returns:
      Losses ``[T]``, shared gradients ``[T, *param]``, head gradients by task, and what encoders
      and heads returned besides.
    """
    return _in_turn(problem, [[name] for name in problem.batch])


def in_sets(problem: Problem) -> tuple[jax.Array, Any, dict[str, Any], Aux]:
    """Groups of any shapes; those that are alike are one trace, in a loop.

    Args:
      problem: the problem, with T tasks.

    Returns:
      What `unrolled` returns.
    """
    return _in_turn(problem, alike_groups(problem))


def _in_turn(problem: Problem, sets: list[list[str]]) -> tuple[jax.Array, Any, dict[str, Any], Aux]:
    """What `unrolled` returns, by sets of groups, of which those of several are alike."""
    tasks = list(problem.heads)
    blocks, head_grads, aux = [], {}, Aux({}, {})
    # Rows of tables that come out of a loop are in their form.
    looped = any(len(names) > 1 for names in sets)
    for names in sets:
        if len(names) == 1:
            index = list(problem.batch).index(names[0])
            vjp, losses, cotangents, of_heads, of_set = group_vjp(problem, index, names[0])
            shared, of_heads = vjp_of_group(vjp, cotangents, of_heads)
            shared = sort_rows(shared) if looped else shared
        else:
            _, (losses, shared), of_heads, of_set = scan_tasks(problem, (), _keep, names)
        head_grads |= of_heads
        aux = Aux(aux.groups | of_set.groups, aux.tasks | of_set.tasks)
        blocks.append((losses, shared))
    losses, shared = in_task_order(tasks, list(head_grads), join_blocks(blocks))
    shared = shared if looped else sort_rows(shared)
    return losses, shared, {task: head_grads[task] for task in tasks}, aux


def _keep(index: Any, carry: Any, result: TaskResult) -> tuple[Any, Any]:
    del index
    return carry, (result.loss, result.shared)


def group_vjp(
    problem: Problem, index: int, name: str
) -> tuple[Callable[..., Any], jax.Array, Any, dict[str, Any], Aux]:
    """The forward pass of a group, and the backward passes of its n heads.

    Args:
      problem: the problem.
      index: the index of the group in the batch, from which its random key follows.
      name: the name of the group.

    Returns:
      The VJP of the encoder, see `encoder_vjp`; losses ``[n]``; cotangents ``[n, *feature]``; head
      gradients by task, without the private parts, which are the encoder's; what the encoder and
      the heads returned besides.
    """
    inputs, key = problem.batch[name].inputs, group_key(problem, index)
    floating, vjp, encoded = encoder_vjp(
        problem, name, inputs, key, private_of_group(problem, name)
    )
    losses, cotangents, head_grads, aux = group_head_gradients(
        problem, name, floating, encoded.others
    )
    return vjp, losses, cotangents, head_grads, Aux({name: encoded.aux}, aux)
