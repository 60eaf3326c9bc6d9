"""Stale weights: each per-task gradient is freed once accumulated, and only measured."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients.combine import combine
from mtljax.gradients.differentiable import check_differentiable
from mtljax.gradients.gramian import gramian
from mtljax.gradients.group_heads import in_task_order, vjp_of_group
from mtljax.gradients.problem import (
    Aux,
    Encode,
    Examples,
    Head,
    Problem,
    make_problem,
)
from mtljax.gradients.running_sum import add_to_sum, empty_sum, in_dtypes_of
from mtljax.gradients.same_shapes import alike_groups
from mtljax.gradients.scanned import TaskResult, scan_tasks
from mtljax.gradients.sketch import sketch as project
from mtljax.gradients.tables import with_tables
from mtljax.gradients.task_gradients import chosen_strategy, compute
from mtljax.gradients.unrolled import group_vjp


class LaggedGradients(NamedTuple):
    """The weighted sum and the inner products of the per-task gradients of a step.

    Attributes:
      losses: ``[T]``, float32 or wider.
      direction: ``sum_i w_i g_i``, a tree like the shared parameters, ``[*param]``.
      gramian: ``[T, T]``, float32 or wider, of this step's gradients, for the weights of the next.
      heads: by task, the gradient of its own loss with respect to its head.
      sketches: ``[T, m]``, float32 or wider, None without a sketch. A sketch is linear: those of
        several batches can be added up.
      aux: with `has_aux`, what encoders and heads returned besides; else None.
    """

    losses: jax.Array
    direction: Any
    gramian: jax.Array
    heads: dict[str, Any]
    sketches: jax.Array | None = None
    aux: Aux | None = None


def lagged_gradients(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    weights: ArrayLike,
    *,
    key: jax.Array | None = None,
    strategy: str = "auto",
    sketch: int | None = None,
    seed: int = 0,
    has_aux: bool = False,
) -> LaggedGradients:
    """Combines per-task gradients with weights that are known beforehand, and measures them.

    The weights are those of the step before: stale weights let each gradient be freed as soon as it
    is accumulated. With a `sketch`, one task's gradient is held at a time, next to the sum, and the
    Gramian is that of random projections. Without, it is exact, and what is held is up to XLA: it
    can free gradients leaf by leaf, but those of layers that a scan stacks arrive together.

    Args:
      encode: ``(shared, inputs) -> features``, or one by input group: see `task_gradients`.
      heads: by task, ``(params, features, targets) -> loss``, a scalar.
      shared: the parameters of the encoder, a tree of arrays.
      head_params: by task, the parameters of its head.
      batch: by input group, its `Examples`.
      weights: ``[T]``, by which the gradients are multiplied; 0 leaves a task out.
      key: the random key of the step; if given, encoders and heads take a key as last argument.
      strategy: how the gradients are computed: see `task_gradients`.
      sketch: None for the exact Gramian, or the size of the projection: see
        `mtljax.gradients.sketch`.
      seed: the seed of the projection, the same in all steps whose sketches are compared.
      has_aux: whether encoders return ``(features, aux)`` and heads ``(loss, aux)``.

    Returns:
      `LaggedGradients`.

    Raises:
      TypeError: as `task_gradients`.
      ValueError: as `task_gradients`; weights of another shape; `'vmapped'` with a sketch.
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key, has_aux)
    check_differentiable(problem)
    weights = jnp.asarray(weights)
    if weights.shape != (len(heads),):
        raise ValueError(f"weights must have shape ({len(heads)},), got {weights.shape}")
    strategy = chosen_strategy(problem, strategy)
    problem = with_tables(problem, alike=strategy in ("scanned", "vmapped"))
    if sketch is None:
        losses, task_grads, head_grads, aux = compute(problem, strategy)
        direction = combine(weights, task_grads)
        return LaggedGradients(
            losses, direction, gramian(task_grads), head_grads, aux=aux if has_aux else None
        )
    if strategy == "vmapped":
        raise ValueError("strategy 'vmapped': a sketch goes from task to task; use 'scanned'")
    sets = {
        "unrolled": [[name] for name in problem.batch],
        "scanned": [list(problem.batch)],
    }.get(strategy) or alike_groups(problem)
    losses, direction, sketches, head_grads, aux = _accumulated(
        problem, sets, weights, sketch, seed
    )
    return LaggedGradients(
        losses, direction, gramian(sketches), head_grads, sketches, aux if has_aux else None
    )


def _accumulated(
    problem: Problem, sets: list[list[str]], weights: jax.Array, size: int, seed: int
) -> Any:
    """Weighs and projects one gradient at a time, by sets of groups, of which several are alike."""
    tasks = list(problem.heads)
    total, blocks, head_grads = empty_sum(problem.shared), [], {}
    aux = Aux({}, {})

    def added(total: Any, weight: jax.Array, shared: Any) -> tuple[Any, jax.Array]:
        projected = project(jax.tree.map(lambda leaf: leaf[None], shared), size, seed)[0]
        return add_to_sum(total, shared, weight), projected

    def keep(index: Any, total: Any, result: TaskResult) -> tuple[Any, Any]:
        total, projected = added(total, weights[index], result.shared)
        return total, (result.loss, projected)

    for names in sets:
        if len(names) > 1:
            total, block, of_heads, of_set = scan_tasks(problem, total, keep, names)
        else:
            total, block, of_heads, of_set = _of_group(problem, names[0], total, weights, added)
        head_grads |= of_heads
        aux = Aux(aux.groups | of_set.groups, aux.tasks | of_set.tasks)
        blocks.append(block)
    computed = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *blocks)
    losses, sketches = in_task_order(tasks, list(head_grads), computed)
    return (
        losses,
        in_dtypes_of(problem.shared, total),
        sketches,
        {task: head_grads[task] for task in tasks},
        aux,
    )


def _of_group(
    problem: Problem, name: str, total: Any, weights: jax.Array, added: Callable[..., Any]
) -> Any:
    """The sum with the gradients of a group's tasks, their losses and sketches, heads and aux."""
    tasks, index = list(problem.heads), list(problem.batch).index(name)
    vjp, losses, cotangents, head_grads, aux = group_vjp(problem, index, name)
    if len(head_grads) == 1:
        shared, head_grads = vjp_of_group(vjp, cotangents, head_grads)
        (task,) = head_grads
        total, sketch = added(
            total, weights[tasks.index(task)], jax.tree.map(lambda leaf: leaf[0], shared)
        )
        return total, (losses, sketch[None]), head_grads, aux

    def accumulate(total: Any, weighted: Any) -> tuple[Any, jax.Array]:
        weight, cotangent = weighted
        return added(total, weight, vjp(cotangent)[0])

    weighted = (weights[jnp.array([tasks.index(task) for task in head_grads])], cotangents)
    # A loop, so that there is one backward pass to compile, and one gradient at a time.
    total, sketches = jax.lax.scan(accumulate, total, weighted)
    return total, (losses, sketches), head_grads, aux
