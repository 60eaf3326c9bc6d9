"""Per-task gradients, one input group after the other."""

from collections.abc import Callable
from typing import Any

import jax

from mtljax.gradients.group_heads import group_head_gradients, in_task_order, vjp_per_task
from mtljax.gradients.problem import Aux, Problem, group_key
from mtljax.gradients.tables import encoder_vjp, join_blocks, sort_rows


def unrolled(problem: Problem) -> tuple[jax.Array, Any, dict[str, Any], Aux]:
    """Groups of any shapes; the backward passes of one group's tasks are traced once.

    Args:
      problem: the problem, with T tasks.

    Returns:
      Losses ``[T]``, shared gradients ``[T, *param]``, head gradients by task, and what encoders
      and heads returned besides.
    """
    tasks = list(problem.heads)
    blocks, head_grads, aux = [], {}, Aux({}, {})
    for index, name in enumerate(problem.batch):
        vjp, losses, cotangents, group_head_grads, group_aux = group_vjp(problem, index, name)
        head_grads |= group_head_grads
        aux = Aux(aux.groups | group_aux.groups, aux.tasks | group_aux.tasks)
        blocks.append((losses, vjp_per_task(vjp, cotangents)))
    losses, shared = in_task_order(tasks, list(head_grads), join_blocks(blocks))
    return losses, sort_rows(shared), {task: head_grads[task] for task in tasks}, aux


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
      gradients by task; what the encoder and the heads returned besides.
    """
    inputs, key = problem.batch[name].inputs, group_key(problem, index)
    floating, vjp, encoded = encoder_vjp(problem, name, inputs, key)
    losses, cotangents, head_grads, aux = group_head_gradients(
        problem, name, floating, encoded.others
    )
    return vjp, losses, cotangents, head_grads, Aux({name: encoded.aux}, aux)
