"""One pure step, compiled for the devices of a mesh by `jit`, `shard_map` or `pmap`.

`pmap` does nothing that `shard_map` does not, and is for one process: a thin variant, with which
programs that are written for `jax.pmap` can be compared.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mtljax.parallel.mesh import axes_size, row_axes
from mtljax.parallel.split import ALL_ROWS, Split

STRATEGIES = ("jit", "shard_map", "pmap")

PMAP_AXIS = "rows"
"""The one axis that `jax.pmap` maps over."""

Step = Callable[[Any, Any, Any], tuple[Any, Any]]


def split_of(mesh: Mesh, strategy: str) -> Split:
    """The rows that a step sees of a batch where it is compiled by a strategy of `STRATEGIES`."""
    if strategy == "jit":
        return ALL_ROWS
    return Split((PMAP_AXIS,) if strategy == "pmap" else row_axes(mesh))


def compiled_step(step: Step, mesh: Mesh, strategy: str, state: Any, rows: P) -> Step:
    """Compiles ``(state, batch, extra) -> (state, metrics)``, with the state donated.

    | strategy | the step sees | who sums over devices |
    |---|---|---|
    | `'jit'` | global arrays | XLA, from the shardings |
    | `'shard_map'` | its device's rows, all of the state | the step, over the axes of `split_of` |
    | `'pmap'` | as under `'shard_map'` | as under `'shard_map'` |

    Args:
      step: pure; under `'shard_map'` and `'pmap'` it sums over the axes of `split_of`.
      mesh: with the axes `mtljax.parallel.AXES`.
      strategy: of `STRATEGIES`.
      state: shardings of the state, a tree of `NamedSharding`; under `'shard_map'` and `'pmap'`
        all replicated.
      rows: how the leading axis of every array of the batches is split.

    Returns:
      A function of global arrays, whatever the strategy. Those of `'jit'` and `'shard_map'` can be
      lowered.

    Raises:
      ValueError: an unknown strategy, or one that the mesh or the shardings do not suit.
    """
    replicated = NamedSharding(mesh, P())
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}")
    if strategy != "jit":
        if mesh.shape["model"] > 1:
            raise ValueError(f"strategy {strategy!r}: the axis 'model' must have one device")
        if not all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state)):
            raise ValueError(f"strategy {strategy!r}: the state must be replicated")
    if strategy == "pmap":
        return _pmapped(step, mesh)
    if strategy == "shard_map":
        step = jax.shard_map(
            step,
            mesh=mesh,
            in_specs=(P(), rows, rows),
            out_specs=P(),
            # The outputs are equal on all devices because the step sums, see `Split`. For JAX to
            # check it, every loop of the model would have to declare what differs between devices.
            check_vma=False,
        )
    by_rows = NamedSharding(mesh, rows)
    return jax.jit(
        step,
        in_shardings=(state, by_rows, by_rows),
        out_shardings=(state, replicated),
        donate_argnums=0,
    )


def _pmapped(step: Step, mesh: Mesh) -> Step:
    """As `shard_map` with a replicated state, over one axis of all devices."""
    count = axes_size(mesh, row_axes(mesh))
    mapped = jax.pmap(
        step,
        axis_name=PMAP_AXIS,
        in_axes=(None, 0, 0),
        out_axes=None,  # pyright: ignore[reportArgumentType]
        devices=list(mesh.devices.flat),
        donate_argnums=0,
    )

    def by_device(leaf: Any) -> Any:
        return leaf.reshape(count, leaf.shape[0] // count, *leaf.shape[1:])

    # The sharding that the step returns: with another, its first call would be compiled apart.
    replicated = NamedSharding(Mesh(mesh.devices.flatten(), (PMAP_AXIS,)), P())

    def run(state: Any, batch: Any, extra: Any) -> tuple[Any, Any]:
        return mapped(jax.device_put(state, replicated), *jax.tree.map(by_device, (batch, extra)))

    return run


def shard_rows(tree: Any, mesh: Mesh, rows: P) -> Any:
    """Puts the arrays of a batch on the devices of a mesh, their leading axis split.

    Args:
      tree: arrays with as many rows each.
      mesh: of the devices.
      rows: how the leading axis is split.

    Returns:
      A tree of global arrays.

    Raises:
      ValueError: naming the first array whose rows cannot be divided.
    """
    axes = rows[0] if rows else ()
    count = axes_size(mesh, (axes,) if isinstance(axes, str) else tuple(axes or ()))
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if np.shape(leaf)[0] % count:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(f"{name}: {np.shape(leaf)[0]} rows cannot be divided by {count}")
    return jax.device_put(tree, NamedSharding(mesh, rows))
