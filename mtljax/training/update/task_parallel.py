"""Per-task gradients with tasks on groups of devices, and what is read of them there."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from mtljax import gradients
from mtljax.gradients import ScaledDiagonal, ScaledGramian, TaskGradients
from mtljax.parallel import (
    FLAT,
    Placement,
    Split,
    axes_size,
    brought_together,
    exchange,
    flattened,
    natural,
    part_specs,
    psum_with_local_gradient,
    split_dimensions,
)
from mtljax.training.model import Model
from mtljax.training.objective import Params, StepBatch
from mtljax.training.update import gradient_problem
from mtljax.training.update.model_gradients import task_gradients as plain_gradients


def task_gradients(
    model: Model, params: Params, batch: StepBatch, key: jax.Array | None, strategy: str = "auto"
) -> TaskGradients:
    """Per-task gradients, each taken by the devices of its task.

    Returns:
      `TaskGradients`. With a placement each device has a part of every leaf of `shared`, and a leaf
      that could not be cut is flat and filled up: see `mtljax.parallel.task_exchange` and `whole`.
    """
    placement = model.placement
    if placement is None:
        return plain_gradients(model, params, batch, key, strategy)
    task, data = placement.task, placement.data
    split = Split(() if data is None else (data,), summed=False)
    local = dataclasses.replace(model, placement=None, split=split)
    dims = _dims(placement, params["shared"])
    if placement.in_parts:
        shared = brought_together(params["shared"], dims, placement.mesh, placement.axes)
        params = {**params, "shared": shared}
    order = [one.name for one in model.tasks]

    def of_device(params: Params, batch: StepBatch, key: jax.Array | None) -> Any:
        heads, examples = gradient_problem.heads(local), gradient_problem.examples(local, batch)
        found = gradients.placed_gradients(
            gradient_problem.encoders(local),
            heads,
            params["shared"],
            params["heads"],
            examples,
            placement.places,
            "task",
            key=key,
        )
        losses, own = found.losses, found.heads
        if data is not None:
            losses = jax.lax.psum(losses, data)
        if task is not None:
            losses = jax.lax.all_gather(losses, task, tiled=True)
        if placement.axes:
            own = jax.lax.psum(own, placement.axes)
        shared = exchange(found.shared, dims, task=task, data=data)
        there = gradients.placed_order(examples, heads, placement.places)
        if there != order:
            places = jnp.array([there.index(name) for name in order])
            losses, shared = jax.tree.map(lambda leaf: leaf[places], (losses, shared))
        return TaskGradients(losses, shared, own)

    found = jax.shard_map(
        of_device,
        mesh=placement.mesh,
        in_specs=(P(), P(data), P()),
        out_specs=TaskGradients(P(), part_specs(dims, placement.axes, lead=1), P()),  # pyright: ignore[reportArgumentType]
        check_vma=False,
    )(params, batch, key)
    # In the order of the tasks again, which a dictionary loses on its way through JAX.
    return found._replace(heads={name: found.heads[name] for name in order})


def scaled_gramian(model: Model, shared: Any, rows: Any, present: jax.Array) -> ScaledGramian:
    """See `mtljax.gradients.scaled_gramian`; products of parts are added up."""
    return _on_parts(model, shared, gradients.scaled_gramian, rows, mask=present)


def scaled_gramian_diagonal(
    model: Model, shared: Any, rows: Any, present: jax.Array
) -> ScaledDiagonal:
    """See `mtljax.gradients.scaled_gramian_diagonal`; those of parts are added up."""
    return _on_parts(model, shared, gradients.scaled_gramian_diagonal, rows, mask=present)


def cross_gramian(model: Model, shared: Any, rows: Any, columns: Any) -> jax.Array:
    """See `mtljax.gradients.cross_gramian`; products of parts are added up."""
    return _on_parts(model, shared, _cross_gramian, rows, columns)


def _cross_gramian(rows: Any, columns: Any, mask: None, axis_name: tuple[str, ...]) -> jax.Array:
    del mask
    return psum_with_local_gradient(gradients.cross_gramian(rows, columns), axis_name)


def _on_parts(
    model: Model, shared: Any, function: Any, *trees: Any, mask: jax.Array | None = None
) -> Any:
    placement = model.placement
    if placement is None:
        return function(*trees, mask=mask, axis_name=())
    specs = part_specs(_dims(placement, shared), placement.axes, lead=1)

    def of_device(mask: jax.Array | None, *parts: Any) -> Any:
        return function(*parts, mask=mask, axis_name=placement.axes)

    return jax.shard_map(
        of_device,
        mesh=placement.mesh,
        in_specs=(P(), *(specs,) * len(trees)),
        out_specs=P(),
        check_vma=False,
    )(mask, *trees)


def whole(model: Model, shared: Any, tree: Any, lead: int) -> Any:
    """Leaves of gradients in the shapes of the shared parameters, after `lead` other axes."""
    if model.placement is None:
        return tree
    return natural(tree, _dims(model.placement, shared), shared, lead)


def cut(model: Model, shared: Any, rows: Any) -> Any:
    """Per-task gradients as `task_gradients` returns them, where `whole` undid that."""
    if model.placement is None:
        return rows
    count = axes_size(model.placement.mesh, model.placement.axes)

    def of(leaf: jax.Array, dim: int, like: Any) -> jax.Array:
        undone = dim == FLAT and leaf.shape[1:] == like.shape
        return flattened(leaf, count, 1) if undone else leaf

    return jax.tree.map(of, rows, _dims(model.placement, shared), shared)


def _dims(placement: Placement, shared: Any) -> Any:
    return split_dimensions(shared, axes_size(placement.mesh, placement.axes))
