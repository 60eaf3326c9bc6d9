"""The mesh: devices along the axes of tasks, of rows and of features."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental.mesh_utils import create_device_mesh
from jax.sharding import AxisType, Mesh

AXES = ("task", "data", "model")
"""Of every mesh: groups of devices on different tasks, on different rows, on different features."""


def mesh_shape(task: int, data: int, model: int, num_devices: int) -> tuple[int, int, int]:
    """The sizes of the axes, with what is left for one below 1.

    Args:
      task: devices along the axis of tasks, 0 or -1 for what the others leave.
      data: along the axis of rows.
      model: along the axis of features.
      num_devices: their product.

    Raises:
      ValueError: the sizes do not multiply to the number of devices, or two are to be filled in.

    >>> mesh_shape(2, 0, 1, 8)
    (2, 4, 1)
    """
    sizes = [task, data, model]
    free = [place for place, size in enumerate(sizes) if size < 1]
    if len(free) > 1:
        names = " and ".join(AXES[place] for place in free)
        raise ValueError(f"axes {names} cannot both be what the others leave")
    rest = 1
    for size in sizes:
        rest *= max(size, 1)
    if free and num_devices % rest == 0:
        sizes[free[0]] = num_devices // rest
    elif free or rest != num_devices:
        shown = " x ".join(
            f"{name} {'?' if place in free else size}"
            for place, (name, size) in enumerate(zip(AXES, sizes, strict=True))
        )
        raise ValueError(f"a mesh of {shown} does not multiply to {num_devices} devices")
    return sizes[0], sizes[1], sizes[2]


def make_mesh(
    task: int = 1, data: int = 0, model: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """A mesh of all devices with the axes `AXES`, of which some may have one device.

    Args:
      task: see `mesh_shape`, as are `data` and `model`.
      data: what the others leave, by default.
      model: devices along the axis of features.
      devices: those of the mesh; by default all there are.

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
        found = create_device_mesh(shape, devices, allow_split_physical_axes=True)
        return Mesh(found, AXES, axis_types=types)


def present_axes(mesh: Mesh, names: Sequence[str] = AXES) -> tuple[str, ...]:
    """Those of some axes that have more than one device."""
    return tuple(name for name in names if mesh.shape[name] > 1)


def row_axes(mesh: Mesh) -> tuple[str, ...]:
    """The axes that a batch's rows are split over where all devices work on all tasks."""
    return present_axes(mesh, ("task", "data"))


def axes_size(mesh: Mesh, axes: Sequence[str]) -> int:
    """Devices along some axes together."""
    size = 1
    for name in axes:
        size *= mesh.shape[name]
    return size
