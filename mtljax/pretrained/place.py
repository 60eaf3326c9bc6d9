"""Tensors of a file put on devices, one by one, as parameters."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from mtljax.pretrained.checkpoint import Checkpoint
from mtljax.pretrained.name_map import Entry


def place(
    checkpoint: Checkpoint,
    entries: Sequence[Entry],
    names: Mapping[str, str],
    like: Mapping[str, jax.ShapeDtypeStruct],
) -> dict[str, jax.Array]:
    """Read parameters, tensor by tensor.

    The host holds the tensors of one layer of one parameter at a time; stacked layers are written
    into their place on the devices.

    Args:
      checkpoint: the open files.
      entries: of the parameters.
      names: from a name of an entry to that in the file.
      like: by path shape and dtype of each parameter, and where it is to be.

    Returns:
      The parameters by path.
    """
    return {entry.path: _place(checkpoint, entry, names, like[entry.path]) for entry in entries}


def _place(
    checkpoint: Checkpoint, entry: Entry, names: Mapping[str, str], like: jax.ShapeDtypeStruct
) -> jax.Array:
    def read(layer: int, shape: Sequence[int]) -> np.ndarray:
        tensors = [checkpoint.read(names[name.format(layer)]) for name in entry.names]
        if entry.offset:
            tensors = [tensor.astype(np.float32, copy=False) for tensor in tensors]
        return entry.to_parameter(tensors, shape).astype(like.dtype, copy=False)

    if not entry.stacked:
        return put(read(0, like.shape), like.sharding)
    stacked = (jnp.ones if entry.first_layer else jnp.zeros)(
        like.shape, like.dtype, device=like.sharding
    )
    write = _writer(like.sharding)
    for layer in range(entry.first_layer, like.shape[0]):
        stacked = write(stacked, put(read(layer, like.shape[1:]), _of_layer(like.sharding)), layer)
    return stacked


@functools.cache
def _writer(sharding: Sharding | None) -> Any:
    def write(stacked: jax.Array, x: jax.Array, layer: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_index_in_dim(stacked, x, layer, axis=0)

    return jax.jit(write, donate_argnums=0, out_shardings=sharding)


def _of_layer(sharding: Sharding | None) -> Sharding | None:
    if not isinstance(sharding, NamedSharding):
        return sharding
    return NamedSharding(sharding.mesh, P(*sharding.spec[1:]))


def put(x: np.ndarray, sharding: Sharding | None) -> jax.Array:
    """An array on the devices of a sharding, of all processes; None for the default device."""
    if not isinstance(sharding, NamedSharding):
        return jax.device_put(x, sharding)
    # Each process makes the shards of its own devices.
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])
