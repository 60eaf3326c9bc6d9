"""The mesh of devices: axes of tasks, of rows and of features."""

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental.mesh_utils import create_device_mesh
from jax.sharding import AxisType, Mesh

AXES = ("task", "data", "model")
"""The axes of every mesh, along which devices work on different tasks, rows and features."""


def mesh_shape(task: int, data: int, model: int, num_devices: int) -> tuple[int, int, int]:
    """The sizes of the axes, of which one may be given as 0 or -1: what the others leave.

    Args:
      task: devices along the axis of tasks.
      data: devices along the axis of rows.
      model: devices along the axis of features.
      num_devices: the product of the three.

    Returns:
      The three sizes.

    Raises:
      ValueError: the sizes do not multiply to the number of devices, or two are to be filled in.

    >>> mesh_shape(2, 0, 1, 8)
    (2, 4, 1)
    """
    sizes = [task, data, model]
    unknown = [index for index, size in enumerate(sizes) if size < 1]
    if len(unknown) > 1:
        names = " and ".join(AXES[index] for index in unknown)
        raise ValueError(f"axes {names} cannot both be what the others leave")
    known_product = math.prod(max(size, 1) for size in sizes)
    if unknown and num_devices % known_product == 0:
        sizes[unknown[0]] = num_devices // known_product
    elif unknown or known_product != num_devices:
        shown = " x ".join(
            f"{name} {'?' if index in unknown else size}"
            for index, (name, size) in enumerate(zip(AXES, sizes, strict=True))
        )
        raise ValueError(f"a mesh of {shown} does not multiply to {num_devices} devices")
    return sizes[0], sizes[1], sizes[2]


def make_mesh(
    task: int = 1, data: int = 0, model: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """Makes a mesh with the axes `AXES`, of which some may have one device.

    Args:
      task: devices along the axis of tasks; 0 for what the other axes leave, as of all three.
      data: devices along the axis of rows.
      model: devices along the axis of features.
      devices: those of the mesh; by default all devices of all processes.

    Returns:
      The mesh.

    Raises:
      ValueError: sizes that do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    shape = mesh_shape(task, data, model, len(devices))
    # Explicit axes, the default of JAX, are not what Linen modules are written for.
    types = (AxisType.Auto,) * 3
    try:
        return jax.make_mesh(shape, AXES, axis_types=types, devices=devices)
    except NotImplementedError:
        # An axis that is a part of one of the torus, such as 8 of a row of 16 chips.
        array = create_device_mesh(shape, devices, allow_split_physical_axes=True)
        return Mesh(array, AXES, axis_types=types)


def present_axes(mesh: Mesh, names: Sequence[str] = AXES) -> tuple[str, ...]:
    """Those of some mesh axes that have more than one device."""
    return tuple(name for name in names if mesh.shape[name] > 1)


def row_axes(mesh: Mesh) -> tuple[str, ...]:
    """The axes that a batch's rows are split over where all devices work on all tasks."""
    return present_axes(mesh, ("task", "data"))


def axes_size(mesh: Mesh, axes: Sequence[str]) -> int:
    """The number of devices along some mesh axes together."""
    return math.prod(mesh.shape[name] for name in axes)
