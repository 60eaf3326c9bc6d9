"""The losses of all tasks: what `task_gradients` differentiates."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.group_heads import group_losses, group_tasks, in_order
from mtljax.gradients.problem import (
    Encode,
    Examples,
    Head,
    Problem,
    encoded,
    group_key,
    head_loss,
    make_problem,
    stacked,
    stacked_params,
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

    For the plain way, the gradient of their weighted sum, and for a second look at a batch with the
    same random keys. Arguments and errors are those of `task_gradients`. Groups of equal shapes are
    traced as one, along an axis of tasks (on a CPU in a loop), so that the time to compile does not
    grow with them.
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key)
    if chosen_strategy(problem, "auto") == "scanned":
        return _of_alike(problem)
    blocks, found = [], []
    for place, (name, examples) in enumerate(problem.batch.items()):
        features = encoded(problem, name, shared, examples.inputs, group_key(problem, place))
        blocks.append(group_losses(problem, name, *features))
        found += group_tasks(problem, name)
    return in_order(list(heads), found, jnp.concatenate(blocks))


def _of_alike(problem: Problem) -> jax.Array:
    order, names = list(problem.heads), list(problem.batch)
    groups = {task: name for name, rows in problem.batch.items() for task in rows.targets}

    def one(row: Any) -> jax.Array:
        place, group_place, inputs, params, targets = row
        key = group_key(problem, group_place)
        features = encoded(problem, names[0], problem.shared, inputs, key)
        return head_loss(
            problem, names[0], order[0], params, *features, targets, task_key(problem, place)
        )

    rows = (
        jnp.arange(len(order)),
        jnp.array([names.index(groups[task]) for task in order]),
        stacked([problem.batch[groups[task]].inputs for task in order]),
        stacked_params([problem.head_params[task] for task in order]),
        stacked([problem.batch[groups[task]].targets[task] for task in order]),
    )
    return jax.lax.platform_dependent(
        rows,
        # Products over the rows of several tasks at once are copied before and after on a CPU.
        cpu=lambda rows: jax.lax.map(one, rows),
        default=jax.vmap(one),
    )
