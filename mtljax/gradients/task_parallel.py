"""Per-task gradients where each group of devices works on tasks of its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.group_heads import group_head_gradients, pulled_back
from mtljax.gradients.problem import (
    Encode,
    Examples,
    Head,
    Problem,
    encoded,
    group_key,
    make_problem,
    stacked,
)
from mtljax.gradients.same_shapes import unlike_inputs
from mtljax.gradients.task_gradients import TaskGradients


def placed_gradients(
    encode: Encode | Mapping[str, Encode],
    heads: Mapping[str, Head],
    shared: Any,
    head_params: Mapping[str, Any],
    batch: Mapping[str, Examples],
    places: Sequence[Sequence[str]],
    axis_name: str,
    *,
    key: jax.Array | None = None,
) -> TaskGradients:
    """The gradients of this device's tasks, under `jax.shard_map`; no device waits for another.

    One program runs on all devices: the index along an axis of the mesh says which input groups a
    device encodes (those of one encoder and shape are traced once) and which heads it runs
    (`lax.switch`, so that heads may be unlike).

    Args:
      encode: see `task_gradients`, as are `heads`, `shared`, `head_params`, `batch` and `key`.
      heads: by task.
      shared: parameters of the encoder.
      head_params: by task.
      batch: `Examples` by input group, of all groups.
      places: for each index along the axis, its input groups: equally many everywhere, and those
        that stand at the same place have equally many tasks.
      axis_name: of the axis.
      key: of the step.

    Returns:
      `TaskGradients` of ``n`` tasks: losses ``[n]`` and shared gradients ``[n, *param]``, in the
      order of the groups and, within a group, of the heads; gradients of all heads, zeros for
      those of other devices.

    Raises:
      ValueError: as `task_gradients`; groups that are not each at one place, or unevenly many.
    """
    problem = make_problem(encode, heads, shared, head_params, batch, key)
    check_places(problem.batch, places)
    index = jax.lax.axis_index(axis_name)
    slots = [_slot(problem, names, index) for names in zip(*places, strict=True)]
    losses, rows = jax.tree.map(
        lambda *parts: parts[0] if len(parts) == 1 else jnp.concatenate(parts),
        *(slot[:2] for slot in slots),
    )
    own = jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *(slot[2] for slot in slots))
    return TaskGradients(losses, rows, own)


def placed_order(
    batch: Mapping[str, Examples], heads: Mapping[str, Any], places: Sequence[Sequence[str]]
) -> list[str]:
    """The tasks in the order of `placed_gradients`, those of the first index first."""
    return [
        task for names in places for name in names for task in heads if task in batch[name].targets
    ]


def check_places(batch: Mapping[str, Examples], places: Sequence[Sequence[str]]) -> None:
    """Checks that each input group has one place, and that all indices have equally much to do.

    Raises:
      ValueError: naming what is uneven.
    """
    named = [name for names in places for name in names]
    if sorted(named) != sorted(batch):
        raise ValueError(f"places name the input groups {sorted(named)}, there are {sorted(batch)}")
    counts = [[len(batch[name].targets) for name in names] for names in places]
    if any(count != counts[0] for count in counts):
        raise ValueError(f"places must have equally many groups and tasks, got tasks {counts}")


def _slot(
    problem: Problem, names: Sequence[str], index: jax.Array
) -> tuple[jax.Array, Any, dict[str, Any]]:
    """The losses, shared gradients and head gradients of one group at each index."""
    kinds: list[list[int]] = []
    for place, name in enumerate(names):
        for kind in kinds:
            first = names[kind[0]]
            if problem.encode[first] is problem.encode[name] and not unlike_inputs(
                problem.batch[first].inputs, problem.batch[name].inputs
            ):
                kind.append(place)
                break
        else:
            kinds.append([place])
    branches = [_of_kind(problem, [names[place] for place in kind]) for kind in kinds]
    found = {place: (k, i) for k, kind in enumerate(kinds) for i, place in enumerate(kind)}
    kind_of, here = jnp.array([found[place] for place in range(len(names))])[index]
    return branches[0](here) if len(branches) == 1 else jax.lax.switch(kind_of, branches, here)


def _of_kind(
    problem: Problem, names: Sequence[str]
) -> Callable[[jax.Array], tuple[jax.Array, Any, dict[str, Any]]]:
    """The same for groups that one trace of the encoder serves, by the place among them."""
    order = list(problem.batch)
    dtype = jax.dtypes.canonicalize_dtype(float)

    def heads_of(name: str) -> Callable[[Any, Any], tuple[jax.Array, Any, dict[str, Any]]]:
        def run(floating: Any, others: Any) -> tuple[jax.Array, Any, dict[str, Any]]:
            losses, slopes, own = group_head_gradients(problem, name, floating, others)
            zeros = {
                task: jax.tree.map(jnp.zeros_like, params)
                for task, params in problem.head_params.items()
            }
            return losses.astype(dtype), slopes, {**zeros, **own}

        return run

    def run(here: jax.Array) -> tuple[jax.Array, Any, dict[str, Any]]:
        inputs = jax.tree.map(
            lambda leaf: leaf[here], stacked([problem.batch[name].inputs for name in names])
        )
        key = group_key(problem, jnp.array([order.index(name) for name in names])[here])
        floating, pull_back, others = jax.vjp(
            lambda shared: encoded(problem, names[0], shared, inputs, key),
            problem.shared,
            has_aux=True,
        )
        branches = [heads_of(name) for name in names]
        if len(branches) == 1:
            losses, slopes, own = branches[0](floating, others)
        else:
            losses, slopes, own = jax.lax.switch(here, branches, floating, others)
        return losses, pulled_back(pull_back, slopes), own

    return run
