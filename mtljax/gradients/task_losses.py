"""The losses of all tasks: the forward pass of `task_gradients`."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.group_heads import group_losses, group_tasks, in_task_order
from mtljax.gradients.problem import (
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
)
from mtljax.gradients.task_gradients import chosen_strategy


def task_losses(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    *,
    key: jax.Array | None = None,
) -> jax.Array:
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

    Returns:
      ``[T]``, float32 or wider, in the order of the heads.

    Raises:
      ValueError: as `task_gradients`.
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key)
    if chosen_strategy(problem, "auto") == "scanned":
        return _stacked_losses(problem)
    blocks, computed = [], []
    for index, (name, examples) in enumerate(problem.batch.items()):
        features = encode_group(problem, name, shared, examples.inputs, group_key(problem, index))
        blocks.append(group_losses(problem, name, *features))
        computed += group_tasks(problem, name)
    return in_task_order(list(heads), computed, jnp.concatenate(blocks))


def _stacked_losses(problem: Problem) -> jax.Array:
    """The losses ``[T]`` where groups and heads can be stacked."""
    tasks, names = list(problem.heads), list(problem.batch)
    group_of = {task: name for name, examples in problem.batch.items() for task in examples.targets}

    def loss_of(arguments: Any) -> jax.Array:
        index, group_index, inputs, params, targets = arguments
        key = group_key(problem, group_index)
        features = encode_group(problem, names[0], problem.shared, inputs, key)
        return head_loss(
            problem, names[0], tasks[0], params, *features, targets, task_key(problem, index)
        )

    arguments = (
        jnp.arange(len(tasks)),
        jnp.array([names.index(group_of[task]) for task in tasks]),
        stack_trees([problem.batch[group_of[task]].inputs for task in tasks]),
        stack_params([problem.head_params[task] for task in tasks]),
        stack_trees([problem.batch[group_of[task]].targets[task] for task in tasks]),
    )
    return jax.lax.platform_dependent(
        arguments,
        # On a CPU, operands of a product over several tasks at once are copied before and after.
        cpu=lambda arguments: jax.lax.map(loss_of, arguments),
        default=jax.vmap(loss_of),
    )
