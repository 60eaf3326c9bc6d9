"""The losses of all tasks: the forward pass of `task_gradients`."""

from collections.abc import Mapping
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp

from mtljax.gradients.group_heads import group_losses, group_tasks, in_task_order
from mtljax.gradients.one_pass import EncodeTogether, losses_in_one_pass
from mtljax.gradients.own_params import private_of
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
    private_of_group,
    stack_params,
    stack_trees,
    task_key,
    unstack_by_task,
)
from mtljax.gradients.same_shapes import alike_groups


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
        losses, aux = _losses_by_set(problem)
    return (losses, aux) if has_aux else losses


def _losses_by_set(problem: Problem) -> tuple[jax.Array, Aux]:
    """The losses ``[T]``, one set of alike groups after the other."""
    blocks, computed, aux = [], [], Aux({}, {})
    for names in alike_groups(problem):
        if len(names) == 1:
            losses, of_set = _losses_of_group(problem, names[0])
        else:
            losses, of_set = _stacked_losses(problem, names)
        blocks.append(losses)
        computed += [task for name in names for task in group_tasks(problem, name)]
        aux = Aux(aux.groups | of_set.groups, aux.tasks | of_set.tasks)
    return in_task_order(list(problem.heads), computed, jnp.concatenate(blocks)), aux


def _losses_of_group(problem: Problem, name: str) -> tuple[jax.Array, Aux]:
    index, inputs = list(problem.batch).index(name), problem.batch[name].inputs
    key = group_key(problem, index)
    private = private_of_group(problem, name)
    floating, encoded = encode_group(problem, name, problem.shared, inputs, key, private)
    losses, task_aux = group_losses(problem, name, floating, encoded.others)
    return losses, Aux({name: encoded.aux}, task_aux)


def _stacked_losses(problem: Problem, names: list[str]) -> tuple[jax.Array, Aux]:
    """The losses ``[n]`` of groups that are alike, one task each."""
    all_tasks, all_names = list(problem.heads), list(problem.batch)
    group_of = {task: name for name in names for task in problem.batch[name].targets}
    tasks = list(group_of)

    def loss_of(arguments: Any) -> tuple[jax.Array, Any, Any]:
        index, group_index, inputs, params, targets = arguments
        key = group_key(problem, group_index)
        private = private_of(params)
        floating, encoded = encode_group(problem, names[0], problem.shared, inputs, key, private)
        of_task = (targets, task_key(problem, index))
        loss, aux = head_loss(
            problem, names[0], tasks[0], params, floating, encoded.others, *of_task
        )
        return loss, encoded.aux, aux

    arguments = (
        jnp.array([all_tasks.index(task) for task in tasks]),
        jnp.array([all_names.index(name) for name in names]),
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
