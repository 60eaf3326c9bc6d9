"""The losses of all tasks, all input groups encoded in one pass."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.feature_spec import split_features
from mtljax.gradients.group_heads import in_task_order
from mtljax.gradients.own_params import refuse_private
from mtljax.gradients.problem import (
    Aux,
    Problem,
    group_key,
    head_loss,
    stack_params,
    stack_trees,
    task_key,
    unstack_by_task,
    value_and_aux,
)
from mtljax.gradients.same_shapes import why_heads_differ, why_trees_differ

EncodeTogether = Callable[..., Mapping[str, Any]]


def losses_in_one_pass(problem: Problem, encode_together: EncodeTogether) -> tuple[jax.Array, Aux]:
    """The losses ``[T]``, the encoder called once; heads that are alike are traced once.

    Args:
      problem: the problem, with T tasks.
      encode_together: ``(shared, {group: inputs}[, key]) -> {group: features}``.

    Returns:
      Losses ``[T]``, and what the encoder and the heads returned besides.

    Raises:
      ValueError: the pass returns other groups, or features of another structure than those of a
        group's own encoder.
    """
    refuse_private(problem.head_params, "encode_together")
    features, aux_of_groups = _encode_all(problem, encode_together)
    group_of = {task: name for name, examples in problem.batch.items() for task in examples.targets}
    losses, computed, of_tasks = [], [], {}
    for tasks in _alike(problem, features, group_of):
        block, aux = _losses_of(problem, features, group_of, tasks)
        losses.append(block)
        computed += tasks
        of_tasks |= aux
    aux = Aux(aux_of_groups, {task: of_tasks[task] for task in problem.heads})
    return in_task_order(list(problem.heads), computed, jnp.concatenate(losses)), aux


def _encode_all(
    problem: Problem, encode_together: EncodeTogether
) -> tuple[dict[str, Any], dict[str, Any]]:
    """By input group, the features, and what the encoder returned besides."""
    key = group_key(problem, 0)
    keys = () if key is None else (key,)
    inputs = {name: examples.inputs for name, examples in problem.batch.items()}
    returned = encode_together(problem.shared, inputs, *keys)
    if set(returned) != set(inputs):
        raise ValueError(
            f"encode_together must return the input groups {sorted(inputs)}, got {sorted(returned)}"
        )
    features: dict[str, Any] = {}
    aux: dict[str, Any] = {}
    for name, spec in problem.specs.items():
        features[name], aux[name] = returned[name], ()
        who = f"encode_together: of input group {name!r}"
        if problem.has_aux:
            features[name], aux[name] = value_and_aux(returned[name], who, "features")
        why = why_trees_differ(features[name], spec.structure.unflatten(spec.shapes))
        if why:
            raise ValueError(f"{who} it returns other features than the group's encoder: {why}")
    return features, aux


def _alike(
    problem: Problem, features: Mapping[str, Any], group_of: Mapping[str, str]
) -> list[list[str]]:
    """The tasks, divided into lists whose heads can be traced as one."""

    def same(first: str, second: str) -> bool:
        one, other = group_of[first], group_of[second]
        if why_heads_differ(problem, (first, second)) is not None:
            return False
        if problem.specs[one] != problem.specs[other]:
            return False
        # What has no axis of rows, such as a word table, is not stacked: it has to be one array.
        leaves = zip(
            jax.tree.leaves(features[one]),
            jax.tree.leaves(features[other]),
            problem.specs[one].batched,
            strict=True,
        )
        return all(batched or a is b for a, b, batched in leaves)

    lists: list[list[str]] = []
    for task in problem.heads:
        for tasks in lists:
            if same(tasks[0], task):
                tasks.append(task)
                break
        else:
            lists.append([task])
    return lists


def _losses_of(
    problem: Problem, features: Mapping[str, Any], group_of: Mapping[str, str], tasks: list[str]
) -> tuple[jax.Array, dict[str, Any]]:
    """The losses ``[n]`` of tasks whose heads are alike, and by task what they return besides."""
    group = group_of[tasks[0]]
    spec, order = problem.specs[group], list(problem.heads)

    def loss_of(index: Any, params: Any, features: Any, targets: Any) -> tuple[jax.Array, Any]:
        parts = split_features(spec, features)
        key = task_key(problem, index)
        return head_loss(problem, group, tasks[0], params, *parts, targets, key)

    arguments = [
        (order.index(task), problem.head_params[task], problem.batch[group_of[task]].targets[task])
        for task in tasks
    ]
    if len(tasks) == 1:
        (index, params, targets), (task,) = arguments[0], tasks
        loss, aux = loss_of(index, params, features[group], targets)
        return loss[None], {task: aux}
    indices, params, targets = map(list, zip(*arguments, strict=True))
    whole, axis = features[group], None
    if len({group_of[task] for task in tasks}) > 1:
        by_leaf = zip(*(jax.tree.leaves(features[group_of[t]]) for t in tasks), strict=True)
        leaves = [
            jnp.stack(leaves) if batched else leaves[0]
            for leaves, batched in zip(by_leaf, spec.batched, strict=True)
        ]
        whole = spec.structure.unflatten(leaves)
        axis = spec.structure.unflatten([0 if batched else None for batched in spec.batched])
    mapped = jax.vmap(loss_of, in_axes=(0, 0, axis, 0))
    losses, aux = mapped(jnp.array(indices), stack_params(params), whole, stack_trees(targets))
    return losses, unstack_by_task(aux, tasks)
