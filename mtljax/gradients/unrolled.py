"""Per-task gradients, one input group after the other."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.group_heads import group_head_gradients, in_task_order, vjp_per_task
from mtljax.gradients.problem import Aux, Problem, encode_group, group_key


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
    # Concatenating one block would copy it.
    gradients = blocks[0]
    if len(blocks) > 1:
        gradients = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *blocks)
    losses, shared = in_task_order(tasks, list(head_grads), gradients)
    return losses, shared, {task: head_grads[task] for task in tasks}, aux


def group_vjp(
    problem: Problem, index: int, name: str
) -> tuple[Callable[..., Any], jax.Array, Any, dict[str, Any], Aux]:
    """The forward pass of a group, and the backward passes of its n heads.

    Args:
      problem: the problem.
      index: the index of the group in the batch, from which its random key follows.
      name: the name of the group.

    Returns:
      The VJP of the encoder, from a cotangent of the features to a tuple of one, the gradient of
      the shared parameters; losses ``[n]``; cotangents ``[n, *feature]``; head gradients by task;
      what the encoder and the heads returned besides.
    """
    inputs, key = problem.batch[name].inputs, group_key(problem, index)
    floating, vjp, encoded = jax.vjp(
        lambda shared: encode_group(problem, name, shared, inputs, key),
        problem.shared,
        has_aux=True,
    )
    losses, cotangents, head_grads, aux = group_head_gradients(
        problem, name, floating, encoded.others
    )
    return vjp, losses, cotangents, head_grads, Aux({name: encoded.aux}, aux)
