"""Task-parallel gradients: under `jax.shard_map`, each device computes those of its own tasks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.differentiable import check_differentiable
from mtljax.gradients.group_heads import group_head_gradients, vjp_per_task
from mtljax.gradients.own_params import refuse_private
from mtljax.gradients.problem import (
    Encode,
    Examples,
    Head,
    Problem,
    encode_group,
    group_key,
    make_problem,
    stack_trees,
)
from mtljax.gradients.same_shapes import why_trees_differ
from mtljax.gradients.task_gradients import TaskGradients


def task_parallel_gradients(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    groups_by_index: Sequence[Sequence[str]],
    axis_name: str,
    *,
    key: jax.Array | None = None,
) -> TaskGradients:
    """The gradients of this device's tasks, under `jax.shard_map`, without any communication.

    One program runs on all devices: the index along an axis of the mesh says which input groups a
    device encodes (those of one encoder and shape are traced once) and which heads it runs
    (`lax.switch`, so that heads may differ in shape).

    Args:
      encode: ``(shared, inputs) -> features``, or one by input group: see `task_gradients`.
      heads: by task, ``(params, features, targets) -> loss``, a scalar.
      shared: the parameters of the encoder, a tree of arrays.
      head_params: by task, the parameters of its head.
      batch: by input group, its `Examples`; all groups, on every device.
      groups_by_index: for each index along the axis, the names of its input groups: equally many
        everywhere, and groups of the same position have equally many tasks.
      axis_name: the name of the mesh axis that the tasks are divided over.
      key: the random key of the step; if given, encoders and heads take a key as last argument.

    Returns:
      `TaskGradients` of the n tasks of this device: losses ``[n]`` and shared gradients
      ``[n, *param]``, in the order of its groups and, within a group, of the heads; gradients of
      all heads, zeros for those of other devices.

    Raises:
      TypeError: as `task_gradients`.
      ValueError: as `task_gradients`; a group that is not at exactly one index; indices with
        different numbers of groups or tasks.
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key)
    check_differentiable(problem)
    refuse_private(problem.head_params, "task-parallel gradients")
    check_groups_by_index(problem.batch, groups_by_index)
    device_index = jax.lax.axis_index(axis_name)
    # The k-th group of every index: one of them is computed here.
    blocks = [
        _gradients_of_one(problem, names, device_index)
        for names in zip(*groups_by_index, strict=True)
    ]
    losses, shared_grads = jax.tree.map(
        lambda *leaves: leaves[0] if len(leaves) == 1 else jnp.concatenate(leaves),
        *(block[:2] for block in blocks),
    )
    # A head has a gradient in one block, and zeros in the others.
    head_grads = jax.tree.map(
        lambda *leaves: sum(leaves[1:], leaves[0]), *(block[2] for block in blocks)
    )
    return TaskGradients(losses, shared_grads, head_grads)


def task_parallel_order(
    batch: Mapping[str, Examples],
    heads: Mapping[str, Any],
    groups_by_index: Sequence[Sequence[str]],
) -> list[str]:
    """The tasks in the order of `task_parallel_gradients`, gathered over the axis.

    Args:
      batch: by input group, its `Examples`.
      heads: by task, its head; only the names and their order count.
      groups_by_index: for each index along the axis, the names of its input groups.

    Returns:
      The names of all tasks, those of the first index first.
    """
    return [
        task
        for names in groups_by_index
        for name in names
        for task in heads
        if task in batch[name].targets
    ]


def check_groups_by_index(
    batch: Mapping[str, Examples], groups_by_index: Sequence[Sequence[str]]
) -> None:
    """Checks that each input group has one index, and that all indices have equally much to do.

    Args:
      batch: by input group, its `Examples`.
      groups_by_index: for each index along the axis, the names of its input groups.

    Raises:
      ValueError: groups are missing or named twice, or numbers of groups or tasks are unequal.
    """
    named = [name for names in groups_by_index for name in names]
    if sorted(named) != sorted(batch):
        raise ValueError(
            f"groups_by_index names the input groups {sorted(named)}, there are {sorted(batch)}"
        )
    counts = [[len(batch[name].targets) for name in names] for names in groups_by_index]
    if any(count != counts[0] for count in counts):
        raise ValueError(
            f"groups_by_index must have equally many groups and tasks, got tasks {counts}"
        )


def _gradients_of_one(
    problem: Problem, names: Sequence[str], device_index: jax.Array
) -> tuple[jax.Array, Any, dict[str, Any]]:
    """The losses, shared gradients and head gradients of the group ``names[device_index]``."""
    # Indices of `names`, divided into sets whose groups have one encoder and inputs of one shape.
    equal_sets: list[list[int]] = []
    for i, name in enumerate(names):
        for members in equal_sets:
            first = names[members[0]]
            if problem.encode[first] is problem.encode[name] and not why_trees_differ(
                problem.batch[first].inputs, problem.batch[name].inputs
            ):
                members.append(i)
                break
        else:
            equal_sets.append([i])
    branches = [_traced_once(problem, [names[i] for i in members]) for members in equal_sets]
    positions = {
        i: (branch, position)
        for branch, members in enumerate(equal_sets)
        for position, i in enumerate(members)
    }
    branch, position = jnp.array([positions[i] for i in range(len(names))])[device_index]
    if len(branches) == 1:
        return branches[0](position)
    return jax.lax.switch(branch, branches, position)


def _traced_once(
    problem: Problem, names: Sequence[str]
) -> Callable[[jax.Array], tuple[jax.Array, Any, dict[str, Any]]]:
    """From a position in `names` to that group's gradients; their encoder is traced once."""
    all_groups = list(problem.batch)
    dtype = jax.dtypes.canonicalize_dtype(float)

    def heads_of(name: str) -> Callable[[Any, Any], tuple[jax.Array, Any, dict[str, Any]]]:
        def run(floating: Any, others: Any) -> tuple[jax.Array, Any, dict[str, Any]]:
            losses, cotangents, head_grads, _ = group_head_gradients(
                problem, name, floating, others
            )
            # All branches of a switch return equal trees: zeros for the heads of other groups.
            zeros = {
                task: jax.tree.map(jnp.zeros_like, params)
                for task, params in problem.head_params.items()
            }
            return losses.astype(dtype), cotangents, {**zeros, **head_grads}

        return run

    def run(position: jax.Array) -> tuple[jax.Array, Any, dict[str, Any]]:
        inputs = jax.tree.map(
            lambda leaf: leaf[position],
            stack_trees([problem.batch[name].inputs for name in names]),
        )
        group_indices = jnp.array([all_groups.index(name) for name in names])
        key = group_key(problem, group_indices[position])
        floating, vjp, encoded = jax.vjp(
            lambda shared: encode_group(problem, names[0], shared, inputs, key),
            problem.shared,
            has_aux=True,
        )
        branches = [heads_of(name) for name in names]
        others = encoded.others
        if len(branches) == 1:
            losses, cotangents, head_grads = branches[0](floating, others)
        else:
            losses, cotangents, head_grads = jax.lax.switch(position, branches, floating, others)
        return losses, vjp_per_task(vjp, cotangents), head_grads

    return run
