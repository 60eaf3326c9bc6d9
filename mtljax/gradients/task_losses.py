"""The losses of all tasks: the forward pass of `task_gradients`."""

from collections.abc import Mapping
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp

from mtljax.gradients.group_heads import group_losses, group_tasks, in_task_order
from mtljax.gradients.one_pass import EncodeTogether, losses_in_one_pass
from mtljax.gradients.problem import (
    Aux,
    Encode,
    Examples,
    Head,
    Problem,
    encode_group,
    group_key,
    head_loss,
    make_problem,
    stack_params,
    stack_trees,
    task_key,
    unstack_by_task,
)
from mtljax.gradients.task_gradients import chosen_strategy


@overload
def task_losses(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    *,
    key: jax.Array | None = None,
    encode_together: EncodeTogether | None = None,
    has_aux: Literal[False] = False,
) -> jax.Array: ...


@overload
def task_losses(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    *,
    key: jax.Array | None = None,
    encode_together: EncodeTogether | None = None,
    has_aux: Literal[True],
) -> tuple[jax.Array, Aux]: ...


def task_losses(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    *,
    key: jax.Array | None = None,
    encode_together: EncodeTogether | None = None,
    has_aux: bool = False,
) -> jax.Array | tuple[jax.Array, Aux]:
    """The losses ``[T]``, each input group encoded once: the forward pass of `task_gradients`.

    For loss-only weightings, one backward pass of the weighted loss, and to evaluate a batch a
    second time with the same random keys. Groups of equal shapes are traced as one, along an axis
    of tasks (on a CPU in a loop), so that the time to compile does not grow with their number.

    Args:
      encode: ``(shared, inputs) -> features``, or one by input group: see `task_gradients`.
      heads: by task, ``(params, features, targets) -> loss``, a scalar.
      shared: the parameters of the encoder, a tree of arrays.
      head_params: by task, the parameters of its head.
      batch: by input group, its `Examples`.
      key: the random key of the step; if given, encoders and heads take a key as last argument.
      encode_together: ``(shared, {group: inputs}[, key]) -> {group: features}``, all groups encoded
        in one pass; if given, it is called once in place of the encoders, which say what it
        returns for each group. Its key is that of the first group.
      has_aux: whether encoders return ``(features, aux)`` and heads ``(loss, aux)``.

    Returns:
      ``[T]``, float32 or wider, in the order of the heads; with `has_aux` also an `Aux`, what
      encoders and heads returned besides.

    Raises:
      ValueError: as `task_gradients`; `encode_together` returns other groups or features.
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key, has_aux)
    if encode_together is not None:
        losses, aux = losses_in_one_pass(problem, encode_together)
    else:
        can_stack = chosen_strategy(problem, "auto") == "scanned"
        losses, aux = (_stacked_losses if can_stack else _losses_by_group)(problem)
    return (losses, aux) if has_aux else losses


def _losses_by_group(problem: Problem) -> tuple[jax.Array, Aux]:
    """The losses ``[T]``, one input group after the other."""
    blocks, computed, aux = [], [], Aux({}, {})
    for index, (name, examples) in enumerate(problem.batch.items()):
        floating, encoded = encode_group(
            problem, name, problem.shared, examples.inputs, group_key(problem, index)
        )
        losses, task_aux = group_losses(problem, name, floating, encoded.others)
        blocks.append(losses)
        computed += group_tasks(problem, name)
        aux = Aux(aux.groups | {name: encoded.aux}, aux.tasks | task_aux)
    return in_task_order(list(problem.heads), computed, jnp.concatenate(blocks)), aux


def _stacked_losses(problem: Problem) -> tuple[jax.Array, Aux]:
    """The losses ``[T]`` where groups and heads can be stacked."""
    tasks, names = list(problem.heads), list(problem.batch)
    group_of = {task: name for name, examples in problem.batch.items() for task in examples.targets}

    def loss_of(arguments: Any) -> tuple[jax.Array, Any, Any]:
        index, group_index, inputs, params, targets = arguments
        key = group_key(problem, group_index)
        floating, encoded = encode_group(problem, names[0], problem.shared, inputs, key)
        of_task = (targets, task_key(problem, index))
        loss, aux = head_loss(
            problem, names[0], tasks[0], params, floating, encoded.others, *of_task
        )
        return loss, encoded.aux, aux

    arguments = (
        jnp.arange(len(tasks)),
        jnp.array([names.index(group_of[task]) for task in tasks]),
        stack_trees([problem.batch[group_of[task]].inputs for task in tasks]),
        stack_params([problem.head_params[task] for task in tasks]),
        stack_trees([problem.batch[group_of[task]].targets[task] for task in tasks]),
    )
    losses, encoder_aux, head_aux = jax.lax.platform_dependent(
        arguments,
        # On a CPU, operands of a product over several tasks at once are copied before and after.
        cpu=lambda arguments: jax.lax.map(loss_of, arguments),
        default=jax.vmap(loss_of),
    )
    by_task = unstack_by_task(encoder_aux, tasks)
    aux = Aux({group_of[task]: by_task[task] for task in tasks}, unstack_by_task(head_aux, tasks))
    return losses, aux
