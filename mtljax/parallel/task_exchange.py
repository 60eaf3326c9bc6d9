"""From gradients of some tasks on each device to a part of all tasks' gradients on each.

Devices lie along the axes ``task`` and ``data``. Those of one index along ``task`` have the
gradients of the same tasks, each of its own rows. Leaf by leaf, a reduce-scatter along ``data``
adds them up and leaves each device a part, and an all-to-all along ``task`` trades parts of all
parameters for parts of all tasks. Then the Gramian is a product of what a device has, summed over
the devices, ``T x T`` numbers; the weighted sum and the optimizer work on the parts; and one
all-gather brings the parameters together, as after any sharded update.

Of P parameters a device sends ``P/A`` more, along ``task`` with A devices, than to add up a single
gradient: see `placed_bytes`.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from mtljax.parallel.rules import largest_dimension, shardings

Tree = Any

FLAT = -1
"""In place of a dimension: no dimension divides, so the leaf is made flat and filled up."""

_LANES = (1024, 512, 256, 128)
"""Widths of the rows that a part is laid out in; a TPU's registers are 128 wide."""


def split_dimensions(params: Tree, count: int) -> Tree:
    """For each leaf the dimension that is cut into `count` parts: the largest that divides.

    Args:
      params: a tree of arrays or of their shapes.
      count: devices.

    Returns:
      A tree of integers like `params`; `FLAT` where none divides.

    >>> split_dimensions({"kernel": jnp.zeros((3, 8)), "bias": jnp.zeros(3)}, 4)
    {'bias': -1, 'kernel': 1}
    """

    def of(leaf: Any) -> int:
        dim = largest_dimension(leaf.shape, count)
        return FLAT if dim is None else dim

    return jax.tree.map(of, params)


def exchange(rows: Tree, dims: Tree, *, task: str | None, data: str | None) -> Tree:
    """Trades the gradients of this device's tasks for a part of those of all tasks.

    Args:
      rows: of this device, under `jax.shard_map`: leaves ``[n, *param]``, to be summed over `data`.
      dims: from `split_dimensions`, for all devices of both axes.
      task: name of the axis of tasks; None if there is none.
      data: name of the axis of rows; None if there is none.

    Returns:
      Leaves ``[T, *part]`` with the tasks in the order of the axis, the part cut from the dimension
      of `dims`; ``[T, part]`` of a leaf that was made flat.
    """

    def of(leaf: jax.Array, dim: int) -> jax.Array:
        if dim == FLAT:
            leaf, dim = flattened(leaf, axes_count(task, data), 1), 0
        if data is not None:
            leaf = _scattered(leaf, data, 1 + dim)
        if task is not None:
            leaf = jax.lax.all_to_all(leaf, task, split_axis=1 + dim, concat_axis=0, tiled=True)
        return leaf

    return jax.tree.map(of, rows, dims)


def _scattered(leaf: jax.Array, name: str, dim: int) -> jax.Array:
    """The sum over an axis of devices, of which each keeps a part of one dimension.

    The parts are moved to the front, and what a part holds is laid out in rows of whole registers:
    in any other form a TPU may add up everything everywhere, which sends twice the bytes.
    """
    count, shape = jax.lax.axis_size(name), leaf.shape
    leaf = leaf.reshape(*shape[:dim], count, shape[dim] // count, *shape[dim + 1 :])
    leaf = jnp.moveaxis(leaf, dim, 0)
    part = leaf.shape[1:]
    size = math.prod(part)
    wide = next((n for n in (part[-1], *_LANES) if n % _LANES[-1] == 0 and size % n == 0), size)
    rows = leaf.reshape(count, size // max(wide, 1), wide)
    return jax.lax.psum_scatter(rows, name, scatter_dimension=0, tiled=False).reshape(part)


def gather(parts: Tree, dims: Tree, like: Tree, *, task: str | None, data: str | None) -> Tree:
    """Brings the parts of a direction, or of parameters, together on all devices.

    Args:
      parts: of this device, under `jax.shard_map`, without an axis of tasks.
      dims: as for `exchange`.
      like: the parameters, or their shapes.
      task: see `exchange`.
      data: see `exchange`.

    Returns:
      A tree like `like`.
    """

    def of(part: jax.Array, dim: int, whole: Any) -> jax.Array:
        axis = 0 if dim == FLAT else dim
        for name in (task, data):
            if name is not None:
                part = jax.lax.all_gather(part, name, axis=axis, tiled=True)
        return shaped(part, whole.shape, 0) if dim == FLAT else part

    return jax.tree.map(of, parts, dims, like)


def flattened(leaf: jax.Array, count: int, lead: int) -> jax.Array:
    """Makes a leaf flat after its first `lead` axes, and fills it up to a multiple of `count`."""
    flat = leaf.reshape(*leaf.shape[:lead], -1)
    fill = -flat.shape[-1] % count
    return jnp.pad(flat, ((0, 0),) * lead + ((0, fill),))


def shaped(flat: jax.Array, shape: Sequence[int], lead: int) -> jax.Array:
    """Undoes `flattened`, given the shape without the first `lead` axes."""
    return flat[..., : math.prod(shape)].reshape(*flat.shape[:lead], *shape)


def axes_count(*names: str | None) -> int:
    """Devices along some axes together, under `jax.shard_map`."""
    return math.prod(jax.lax.axis_size(name) for name in names if name is not None)


def natural(tree: Tree, dims: Tree, like: Tree, lead: int) -> Tree:
    """Leaves in the shapes of the parameters, from whole arrays as `exchange` leaves them.

    Args:
      tree: leaves ``[*param]`` or flat and filled up, after `lead` other axes.
      dims: as for `exchange`.
      like: the parameters, or their shapes.
      lead: 1 where there is an axis of tasks, else 0.
    """
    return jax.tree.map(
        lambda leaf, dim, whole: shaped(leaf, whole.shape, lead) if dim == FLAT else leaf,
        tree,
        dims,
        like,
    )


def part_specs(dims: Tree, axes: Sequence[str], lead: int = 0) -> Tree:
    """The spec of each leaf that `exchange` leaves behind, for the outside of `jax.shard_map`.

    Args:
      dims: as for `exchange`.
      axes: those of the exchange that have several devices: ``data`` before ``task``.
      lead: axes in front of the parameter's.
    """
    entry: Any = axes[0] if len(axes) == 1 else tuple(axes)

    def of(dim: int) -> P:
        return P(*(None,) * (lead + max(dim, 0)), entry) if axes else P()

    return jax.tree.map(of, dims)


def kept_specs(dims: Tree, axes: Sequence[str]) -> Tree:
    """The spec of what is kept of each leaf between steps, in the shape of the parameter.

    That of `part_specs`, but for a leaf that is made flat in between, which is kept whole.
    """
    return jax.tree.map(
        lambda dim, spec: P() if dim == FLAT else spec, dims, part_specs(dims, axes)
    )


def brought_together(tree: Tree, dims: Tree, mesh: Mesh, axes: Sequence[str]) -> Tree:
    """Brings leaves that lie as `kept_specs` says together on all devices, under `jax.jit`.

    One axis after the other, the last one first: an all-gather over two at once is sent as an
    all-reduce by some TPUs, which is twice the bytes.

    Args:
      tree: leaves in the shapes of the parameters.
      dims: as for `exchange`.
      mesh: of the axes.
      axes: as for `part_specs`.
    """
    for count in reversed(range(len(axes))):
        tree = jax.lax.with_sharding_constraint(
            tree, shardings(kept_specs(dims, axes[:count]), mesh)
        )
    return tree


def stacked_bytes(size: int, tasks: int, task: int, data: int) -> float:
    """Bytes that a device sends where all devices work on all tasks: T gradients, all-reduced.

    Args:
      size: bytes of the shared parameters.
      tasks: T.
      task: devices along the axis of tasks.
      data: devices along the axis of rows.

    >>> stacked_bytes(100, tasks=4, task=4, data=1)
    600.0
    """
    count = task * data
    return 2 * tasks * size * (count - 1) / count


def placed_bytes(size: int, tasks: int, task: int, data: int) -> float:
    """Bytes that a device sends with tasks on groups of devices; arguments as of `stacked_bytes`.

    Reduce-scatter along ``data``, all-to-all along ``task``, all-gather along both.

    >>> placed_bytes(100, tasks=4, task=4, data=1)
    150.0
    """
    here = tasks / task * size
    scatter = here * (data - 1) / data
    trade = here / data * (task - 1) / task
    return scatter + trade + size * (task * data - 1) / (task * data)
