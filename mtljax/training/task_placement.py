"""Which devices of a run work on which tasks."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from mtljax.modules.structures import has_private
from mtljax.parallel.placement import TaskPlacement, choose_placement, divide_groups
from mtljax.presets import Config
from mtljax.step.method import Method, reads_gradients
from mtljax.step.strategy import APPROXIMATE
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch
from mtljax.training.parameter_rates import freezes_encoder


def task_placement(
    config: Config, model: Model, method: Method, mesh: Mesh, batch: StepBatch, shared: Any
) -> tuple[TaskPlacement | None, str]:
    """Which devices work on which tasks, None where all work on all, and the reason in words.

    Args:
      config: of the run.
      model: its model.
      method: its weighting.
      mesh: of the devices.
      batch: a step's batch, or its shapes.
      shared: the shared parameters, or their shapes.

    Raises:
      ValueError: a placement that is asked for and cannot be.
    """
    parallel = config.parallel
    groups = {group.name: [task.name for task in group.tasks] for group in model.layout.groups}
    tasks = sum(map(len, groups.values()))
    if mesh.shape["task"] > 1 and tasks % mesh.shape["task"]:
        raise ValueError(f"a task axis of {mesh.shape['task']} does not divide {tasks} tasks")
    obstacle = _obstacle(config, mesh)
    if parallel.placement == "task" and obstacle:
        raise ValueError(f"placement 'task': {obstacle}")
    if parallel.placement == "off" or obstacle:
        return None, obstacle or "as asked for"
    # What an encoder is compiled for: groups of one kind are encoded by one trace.
    kinds = {name: (model.network.attention[name], _shapes(batch[name])) for name in groups}
    sharded = parallel.sharding == "fsdp"
    # As XLA does it where it sums gradients over devices itself.
    narrow = parallel.exchange == "auto" and model.network.encoder.dtype == jnp.bfloat16
    dtype = jnp.bfloat16 if narrow or parallel.exchange == "bfloat16" else None
    if parallel.placement == "task":
        try:
            by_index = divide_groups(groups, mesh.shape["task"], kinds)
            return TaskPlacement(mesh, by_index, sharded, dtype), "as asked for"
        except ValueError as error:
            raise ValueError(f"placement 'task': {error}") from None
    # Loss-only weightings have one backward pass, which gains nothing from a device per task.
    if not reads_gradients(method):
        return None, f"weighting {config.weighting!r} reads no gradients"
    if config.weighting_options.get("every", 1) != 1:
        return None, "steps between those of weighting.every read no gradients"
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shared))
    rows = {name: batch[name]["tokens"].shape[0] for name in groups}
    by_index, reason = choose_placement(mesh, groups, kinds, size, rows=rows)
    if by_index is None:
        return None, reason
    return TaskPlacement(mesh, by_index, sharded, dtype), reason


def _obstacle(config: Config, mesh: Mesh) -> str:
    """Why tasks cannot be on groups of devices, whatever their number; empty if they can."""
    if config.parallel.strategy != "jit":
        return f"strategy {config.parallel.strategy!r} has no axis of tasks"
    if mesh.shape["model"] > 1:
        return "the axis of features has several devices"
    if config.optimizer.frozen or freezes_encoder(config):
        return "some parameters are frozen"
    if has_private(config.sharing):
        return "tasks have private parameters in the encoder"
    if config.gradients.strategy in APPROXIMATE:
        strategy = config.gradients.strategy
        return f"gradients.strategy {strategy!r} never holds the gradients of all tasks"
    return ""


def _shapes(group: Any) -> Any:
    shapes = {n: tuple(v.shape) for n, v in group.items() if n not in ("targets", "weights")}
    return tuple(sorted(shapes.items()))
