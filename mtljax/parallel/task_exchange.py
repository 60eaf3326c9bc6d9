"""Reduce-scatter over `data`, all-to-all over `task`: from task-sharded to parameter-sharded.

Devices of one index along ``task`` have the gradients of the same tasks, each of its own rows. Leaf
by leaf, a reduce-scatter along ``data`` sums them and leaves each device a part, and an all-to-all
along ``task`` trades parts of all parameters of some tasks for some parameters of all tasks. Then
the Gramian is a product of each device's parts, all-reduced, ``T x T`` numbers; the weighted sum
and the optimizer work on the parts; and one all-gather replicates the parameters, as after any
sharded update.

Of P bytes of parameters a device sends ``P/A`` more, along ``task`` with A devices, than to
all-reduce a single gradient: see `exchanged_bytes`.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jax.typing import DTypeLike

from mtljax.parallel.rules import largest_dimension, shardings

Tree = Any

FLAT = -1
"""In place of a dimension: none divides, so the leaf is flattened and padded."""

_LANES = (1024, 512, 256, 128)
"""Widths that a part may be reshaped to; a TPU's registers are 128 wide."""


def split_dimensions(params: Tree, count: int) -> Tree:
    """For each leaf the dimension that is split into `count` parts: the largest that divides.

    Args:
      params: a tree of arrays or of their shapes.
      count: number of devices.

    Returns:
      A tree of integers like `params`; `FLAT` where no dimension divides.

    >>> split_dimensions({"kernel": jnp.zeros((3, 8)), "bias": jnp.zeros(3)}, 4)
    {'bias': -1, 'kernel': 1}
    """

    def dimension(leaf: Any) -> int:
        dim = largest_dimension(leaf.shape, count)
        return FLAT if dim is None else dim

    return jax.tree.map(dimension, params)


def exchange_gradients(
    gradients: Tree,
    dims: Tree,
    *,
    task: str | None,
    data: str | None,
    dtype: DTypeLike | None = None,
) -> Tree:
    """Trades the gradients of this device's tasks for a part of those of all tasks.

    Args:
      gradients: of this device's n tasks, under `jax.shard_map`: leaves ``[n, *param]``, to be
        summed over `data`.
      dims: from `split_dimensions`, for all devices of both axes.
      task: name of the mesh axis of tasks; None if it has one device.
      data: name of the mesh axis of rows; None if it has one device.
      dtype: in which gradients travel and are summed over `data`; that of each leaf if None.

    Returns:
      Leaves ``[T, *part]`` with the tasks in the order of the axis, where the dimension of `dims`
      is split; ``[T, part]`` of a leaf that was flattened.
    """

    def exchange_leaf(leaf: jax.Array, dim: int) -> jax.Array:
        if dim == FLAT:
            leaf, dim = flatten_and_pad(leaf, axes_count(task, data), 1), 0
        wide = leaf.dtype
        leaf = leaf.astype(wide if dtype is None else dtype)
        if data is not None:
            leaf = _reduce_scatter(leaf, data, 1 + dim)
        if task is not None:
            leaf = jax.lax.all_to_all(leaf, task, split_axis=1 + dim, concat_axis=0, tiled=True)
        return leaf.astype(wide)

    return jax.tree.map(exchange_leaf, gradients, dims)


def _reduce_scatter(leaf: jax.Array, name: str, dim: int) -> jax.Array:
    """The sum over an axis of devices, of which each keeps a part of one dimension.

    The parts are moved to the front, and each is reshaped to a multiple of the registers' width:
    in any other form a TPU may all-reduce instead, which sends twice the bytes.
    """
    count, shape = jax.lax.axis_size(name), leaf.shape
    leaf = leaf.reshape(*shape[:dim], count, shape[dim] // count, *shape[dim + 1 :])
    leaf = jnp.moveaxis(leaf, dim, 0)
    part = leaf.shape[1:]
    size = math.prod(part)
    width = next((n for n in (part[-1], *_LANES) if n % _LANES[-1] == 0 and size % n == 0), size)
    rows = leaf.reshape(count, size // max(width, 1), width)
    return jax.lax.psum_scatter(rows, name, scatter_dimension=0, tiled=False).reshape(part)


def gather_parts(
    parts: Tree, dims: Tree, params: Tree, *, task: str | None, data: str | None
) -> Tree:
    """All-gathers the parts of a direction, or of parameters.

    Args:
      parts: of this device, under `jax.shard_map`, without an axis of tasks.
      dims: as for `exchange_gradients`.
      params: the parameters, or their shapes.
      task: as for `exchange_gradients`.
      data: as for `exchange_gradients`.

    Returns:
      A tree like `params`, equal on all devices.
    """

    def gather_leaf(part: jax.Array, dim: int, param: Any) -> jax.Array:
        axis = 0 if dim == FLAT else dim
        for name in (task, data):
            if name is not None:
                part = jax.lax.all_gather(part, name, axis=axis, tiled=True)
        return unflatten(part, param.shape, 0) if dim == FLAT else part

    return jax.tree.map(gather_leaf, parts, dims, params)


def flatten_and_pad(leaf: jax.Array, count: int, lead: int) -> jax.Array:
    """Flattens a leaf after its first `lead` axes, and pads it to a multiple of `count`."""
    flat = leaf.reshape(*leaf.shape[:lead], -1)
    padding = -flat.shape[-1] % count
    return jnp.pad(flat, ((0, 0),) * lead + ((0, padding),))


def unflatten(flat: jax.Array, shape: Sequence[int], lead: int) -> jax.Array:
    """Undoes `flatten_and_pad`, given the shape without the first `lead` axes."""
    return flat[..., : math.prod(shape)].reshape(*flat.shape[:lead], *shape)


def axes_count(*names: str | None) -> int:
    """The product of the sizes of some axes, under `jax.shard_map`."""
    return math.prod(jax.lax.axis_size(name) for name in names if name is not None)


def unflatten_leaves(tree: Tree, dims: Tree, params: Tree, lead: int) -> Tree:
    """Leaves in the shapes of the parameters, from global arrays of `exchange_gradients`.

    Args:
      tree: leaves ``[*param]``, or flattened and padded, after `lead` other axes.
      dims: as for `exchange_gradients`.
      params: the parameters, or their shapes.
      lead: 1 where there is an axis of tasks, else 0.

    Returns:
      A tree of leaves ``[*param]`` after `lead` other axes.
    """
    return jax.tree.map(
        lambda leaf, dim, param: unflatten(leaf, param.shape, lead) if dim == FLAT else leaf,
        tree,
        dims,
        params,
    )


def exchanged_specs(dims: Tree, axes: Sequence[str], lead: int = 0) -> Tree:
    """The spec of each leaf that `exchange_gradients` returns, as `jax.shard_map` takes them.

    Args:
      dims: as for `exchange_gradients`.
      axes: those of the exchange that have several devices: ``data`` before ``task``.
      lead: number of axes in front of the parameter's.

    Returns:
      A tree of `PartitionSpec` like `dims`.
    """
    entry: Any = axes[0] if len(axes) == 1 else tuple(axes)

    def spec(dim: int) -> P:
        return P(*(None,) * (lead + max(dim, 0)), entry) if axes else P()

    return jax.tree.map(spec, dims)


def stored_specs(dims: Tree, axes: Sequence[str]) -> Tree:
    """The spec of each leaf between steps, in the shape of the parameter.

    That of `exchanged_specs`, but for a leaf that is flattened for the exchange, which is
    replicated.

    Args:
      dims: as for `exchange_gradients`.
      axes: as for `exchanged_specs`.

    Returns:
      A tree of `PartitionSpec` like `dims`.
    """
    return jax.tree.map(
        lambda dim, spec: P() if dim == FLAT else spec, dims, exchanged_specs(dims, axes)
    )


def gather_stored(
    tree: Tree, dims: Tree, mesh: Mesh, axes: Sequence[str], dtype: DTypeLike | None = None
) -> Tree:
    """All-gathers leaves that are sharded as `stored_specs` says, under `jax.jit`.

    Args:
      tree: leaves in the shapes of the parameters.
      dims: as for `exchange_gradients`.
      mesh: of the axes.
      axes: as for `exchanged_specs`.
      dtype: in which they travel; that of each leaf if None.

    Returns:
      The same leaves, replicated.
    """
    leaves = tree
    if dtype is not None:
        tree = jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
    # One axis after the other, the last one first: some TPUs send an all-gather over two axes at
    # once as an all-reduce, which is twice the bytes.
    for count in reversed(range(len(axes))):
        tree = jax.lax.with_sharding_constraint(
            tree, shardings(stored_specs(dims, axes[:count]), mesh)
        )
    if dtype is None:
        return tree
    # The barrier keeps XLA from converting first, and sending what is wide.
    tree = jax.lax.optimization_barrier(tree)
    return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), tree, leaves)


def stacked_bytes(size: int, tasks: int, task: int, data: int) -> float:
    """Bytes that a device sends where all devices work on all tasks: T gradients, all-reduced.

    Args:
      size: bytes of the shared parameters.
      tasks: the number of tasks T.
      task: devices along the axis of tasks.
      data: devices along the axis of rows.

    Returns:
      Bytes a step.

    >>> stacked_bytes(100, tasks=4, task=4, data=1)
    600.0
    """
    count = task * data
    return 2 * tasks * size * (count - 1) / count


def exchanged_bytes(size: int, tasks: int, task: int, data: int) -> float:
    """Bytes that a device sends with tasks on groups of devices.

    Reduce-scatter along ``data``, all-to-all along ``task``, all-gather along both.

    Args:
      size: as for `stacked_bytes`, as are the others.
      tasks: the number of tasks T.
      task: devices along the axis of tasks.
      data: devices along the axis of rows.

    Returns:
      Bytes a step.

    >>> exchanged_bytes(100, tasks=4, task=4, data=1)
    150.0
    """
    own_gradients = tasks / task * size
    reduce_scatter = own_gradients * (data - 1) / data
    all_to_all = own_gradients / data * (task - 1) / task
    return reduce_scatter + all_to_all + size * (task * data - 1) / (task * data)
