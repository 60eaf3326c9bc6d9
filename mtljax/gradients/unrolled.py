"""Per-task gradients, one input group after the other."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.group_heads import group_head_gradients, in_order, pulled_back
from mtljax.gradients.problem import Problem, encoded, group_key


def unrolled(problem: Problem) -> tuple[jax.Array, Any, dict[str, Any]]:
    """Groups of any shapes; the backward passes of one group's tasks are traced once.

    Returns:
      Losses ``[T]``, shared gradients ``[T, *param]``, head gradients by task.
    """
    order = list(problem.heads)
    blocks, heads = [], {}
    for place, name in enumerate(problem.batch):
        pull_back, losses, slopes, own = group_pass(problem, place, name)
        heads |= own
        blocks.append((losses, pulled_back(pull_back, slopes)))
    found = blocks[0]
    if len(blocks) > 1:
        found = jax.tree.map(lambda *rows: jnp.concatenate(rows), *blocks)
    losses, shared = in_order(order, list(heads), found)
    return losses, shared, {task: heads[task] for task in order}


def group_pass(
    problem: Problem, place: int, name: str
) -> tuple[Callable[..., Any], jax.Array, Any, dict[str, Any]]:
    """The way back through the encoder for a group, and what its heads say."""
    inputs, key = problem.batch[name].inputs, group_key(problem, place)
    floating, pull_back, others = jax.vjp(
        lambda shared: encoded(problem, name, shared, inputs, key),
        problem.shared,
        has_aux=True,
    )
    return pull_back, *group_head_gradients(problem, name, floating, others)
