"""The gradient of a weighted sum of losses, one input group after the other."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.gradients.differentiable import check_differentiable
from mtljax.gradients.group_heads import group_losses, group_tasks, in_task_order
from mtljax.gradients.own_params import private_of, with_private_gradient
from mtljax.gradients.problem import (
    Aux,
    Encode,
    Examples,
    Head,
    Problem,
    group_key,
    head_loss,
    make_problem,
    private_of_group,
    stack_params,
    stack_trees,
    task_key,
    unstack_by_task,
)
from mtljax.gradients.running_sum import add_to_sum, empty_sum, in_dtypes_of
from mtljax.gradients.same_shapes import alike_groups
from mtljax.gradients.tables import encoder_vjp, with_tables


class WeightedGradient(NamedTuple):
    """Losses, and the gradient of their weighted sum.

    Attributes:
      losses: ``[T]``, float32 or wider.
      shared: the gradient with respect to the shared parameters, ``[*param]``.
      heads: by task, that with respect to its head.
      aux: with `has_aux`, what encoders and heads returned besides; else None.
    """

    losses: jax.Array
    shared: Any
    heads: dict[str, Any]
    aux: Aux | None = None


def weighted_gradient(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    weights: jax.Array,
    *,
    key: jax.Array | None = None,
    has_aux: bool = False,
) -> WeightedGradient:
    """The gradient of ``sum_i w_i L_i`` with weights that are known beforehand.

    A group's forward and backward pass are done before those of the next, and its gradient is added
    at once: one group's activations are held, which stay in the caches of a CPU. Groups of equal
    shapes are traced once, in a compiled loop.

    Args:
      encode: ``(shared, inputs) -> features``, or one by input group: see `task_gradients`.
      heads: by task, ``(params, features, targets) -> loss``, a scalar.
      shared: the parameters of the encoder, a tree of arrays.
      head_params: by task, the parameters of its head.
      batch: by input group, its `Examples`.
      weights: ``[T]``, constants.
      key: the random key of the step; if given, encoders and heads take a key as last argument.
      has_aux: whether encoders return ``(features, aux)`` and heads ``(loss, aux)``.

    Returns:
      `WeightedGradient`.

    Raises:
      TypeError: as `task_gradients`.
      ValueError: as `task_gradients`; weights of another shape.
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key, has_aux)
    check_differentiable(problem)
    weights = jax.lax.stop_gradient(jnp.asarray(weights))
    if weights.shape != (len(heads),):
        raise ValueError(f"weights must have shape ({len(heads)},), got {weights.shape}")
    problem = with_tables(problem)
    tasks = list(heads)
    total, aux = empty_sum(problem.shared), Aux({}, {})
    blocks, of_heads = [], {}
    for index, names in enumerate(alike_groups(problem)):
        if index:
            # The next group begins when this one's gradient is added.
            shared, total = jax.lax.optimization_barrier((problem.shared, total))
            problem = problem._replace(shared=shared)
        if len(names) > 1:
            total, losses, of_set, set_aux = _looped(problem, weights, names, total)
        else:
            total, losses, of_set, set_aux = _of_group(problem, weights, names[0], total)
        blocks.append(losses)
        of_heads |= of_set
        aux = Aux(aux.groups | set_aux.groups, aux.tasks | set_aux.tasks)
    losses = in_task_order(tasks, list(of_heads), jnp.concatenate(blocks))
    gradient = in_dtypes_of(problem.shared, total)
    of_heads = {task: of_heads[task] for task in tasks}
    return WeightedGradient(losses, gradient, of_heads, aux if has_aux else None)


def _looped(problem: Problem, weights: jax.Array, names: list[str], total: Any) -> Any:
    """The sum with the gradients of alike groups, their losses, heads and aux."""
    all_tasks, all_names = list(problem.heads), list(problem.batch)
    group_of = {task: name for name in names for task in problem.batch[name].targets}
    tasks = list(group_of)
    indices = jnp.array([all_tasks.index(task) for task in tasks])

    def add(total: Any, arguments: Any) -> tuple[Any, Any]:
        index, group_index, weight, inputs, params, targets = arguments

        key = group_key(problem, group_index)
        floating, vjp, encoded = encoder_vjp(problem, names[0], inputs, key, private_of(params))

        def weighted(floating: Any, params: Any) -> tuple[jax.Array, Any]:
            of_task = (targets, task_key(problem, index))
            loss, aux = head_loss(
                problem, names[0], tasks[0], params, floating, encoded.others, *of_task
            )
            return weight.astype(loss.dtype) * loss, (loss, encoded.aux, aux)

        differentiate = jax.grad(weighted, argnums=(0, 1), has_aux=True)
        (cotangent, of_head), values = differentiate(floating, params)
        of_shared, *of_private = vjp(cotangent)
        of_head = with_private_gradient(of_head, tuple(of_private))
        return add_to_sum(total, of_shared), (of_head, values)

    arguments = (
        indices,
        jnp.array([all_names.index(name) for name in names]),
        weights[indices],
        stack_trees([problem.batch[group_of[task]].inputs for task in tasks]),
        stack_params([problem.head_params[task] for task in tasks]),
        stack_trees([problem.batch[group_of[task]].targets[task] for task in tasks]),
    )
    total, (of_heads, values) = jax.lax.scan(add, total, arguments)
    losses, encoder_aux, head_aux = values
    by_task = unstack_by_task(encoder_aux, tasks)
    aux = Aux({group_of[task]: by_task[task] for task in tasks}, unstack_by_task(head_aux, tasks))
    return total, losses, unstack_by_task(of_heads, tasks), aux


def _of_group(problem: Problem, weights: jax.Array, name: str, total: Any) -> Any:
    """The sum with the gradient of one group, the losses of its tasks, heads and aux."""
    tasks, inputs = group_tasks(problem, name), problem.batch[name].inputs
    all_tasks, key = list(problem.heads), group_key(problem, list(problem.batch).index(name))
    of_group = weights[jnp.array([all_tasks.index(task) for task in tasks])]
    private = private_of_group(problem, name)
    floating, vjp, encoded = encoder_vjp(problem, name, inputs, key, private)

    def weighted(floating: Any, heads: Any) -> tuple[jax.Array, Any]:
        mine = problem._replace(head_params={**problem.head_params, **heads})
        losses, task_aux = group_losses(mine, name, floating, encoded.others)
        return jnp.sum(of_group.astype(losses.dtype) * losses), (losses, task_aux)

    differentiate = jax.grad(weighted, argnums=(0, 1), has_aux=True)
    heads = {task: problem.head_params[task] for task in tasks}
    (cotangent, of_heads), (losses, task_aux) = differentiate(floating, heads)
    of_shared, *of_private = vjp(cotangent)
    total = add_to_sum(total, of_shared)
    # Differentiation sorts dictionaries: this restores the order of the losses.
    of_heads = {task: with_private_gradient(of_heads[task], tuple(of_private)) for task in tasks}
    return total, losses, of_heads, Aux({name: encoded.aux}, task_aux)
