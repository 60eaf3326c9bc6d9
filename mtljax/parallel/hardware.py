"""Accelerators to compile for without having them: their devices, and their peak rates."""

import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

GIB = 2**30


class Chip(NamedTuple):
    """The peak rates of one device, as its maker states them.

    Attributes:
      flops: bfloat16 operations a second.
      memory: bytes that the compiler has for a program.
      memory_rate: bytes a second between memory and cores.
      link_rate: bytes a second that it sends to others of its slice, over all its links.
      axes: dimensions of the torus.
      options: for the compiler, to see a chip as one device.
    """

    flops: float
    memory: float
    memory_rate: float
    link_rate: float
    axes: int
    options: tuple[tuple[str, str], ...] = ()


CHIPS = {
    "v4": Chip(275e12, 31.75 * GIB, 1228e9, 300e9, 3, (("chip_config_name", "megacore"),)),
    "v5e": Chip(197e12, 15.75 * GIB, 819e9, 200e9, 2),
    "v5p": Chip(459e12, 95.74 * GIB, 2765e9, 600e9, 3),
    "v6e": Chip(918e12, 31.25 * GIB, 1640e9, 448e9, 2),
}
"""By the name that a topology begins with. Sources: cloud.google.com/tpu/docs, one page a chip."""

_TOPOLOGY = re.compile(r"([a-z]\w*):(\d+(?:x\d+)+)")


class Topology(NamedTuple):
    """Devices that a program is compiled for.

    Attributes:
      name: as it was given.
      count: of the devices.
      chip: what each can do; None for devices of this host.
    """

    name: str
    count: int
    chip: Chip | None


def parse_topology(text: str) -> Topology:
    """Reads ``CHIP:AxB``, ``CHIP:AxBxC`` or a number of devices of this host.

    Args:
      text: such as ``v5e:16x16`` or ``8``.

    Returns:
      The topology.

    Raises:
      ValueError: it is neither, or of a chip that is not in `CHIPS`.

    >>> parse_topology("v5p:4x4x8").count, parse_topology("8")
    (128, Topology(name='8', count=8, chip=None))
    """
    if text.isdecimal() and int(text) > 0:
        return Topology(text, int(text), None)
    known = ", ".join(f"{name}:{'x'.join('ABC'[: chip.axes])}" for name, chip in CHIPS.items())
    match = _TOPOLOGY.fullmatch(text)
    sizes = [int(size) for size in match[2].split("x")] if match else []
    chip = CHIPS.get(match[1]) if match else None
    if chip is None or len(sizes) != chip.axes or not all(sizes):
        raise ValueError(
            f"topology {text!r}: unknown; known are {known}, with numbers of chips, and a number "
            "of devices of this host"
        )
    return Topology(text, math.prod(sizes), chip)


def topology_devices(topology: Topology) -> Sequence[Any]:
    """The devices of a topology, to compile for; those of this host can also run programs.

    Args:
      topology: from `parse_topology`.

    Returns:
      As many devices as `Topology.count` says.

    Raises:
      ValueError: chips that cannot be laid out so, or fewer devices on this host.
      RuntimeError: there is no compiler for TPUs.
    """
    if topology.chip is None:
        devices = jax.devices("cpu")
        if len(devices) < topology.count:
            raise ValueError(
                f"topology {topology.name!r}: this process has {len(devices)} devices "
                f"(JAX_NUM_CPU_DEVICES={topology.count} makes that many)"
            )
        return devices[: topology.count]
    from jax.experimental import topologies

    # Nothing is run: no metadata server is needed, and other processes may compile meanwhile.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    os.environ.setdefault("TPU_STDERR_LOG_LEVEL", "4")
    os.environ.setdefault("TPU_MIN_LOG_LEVEL", "4")
    try:
        options = dict(topology.chip.options)
        return topologies.get_topology_desc(topology.name, platform="tpu", **options).devices
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(f"topology {topology.name!r}: {error}") from None
    except RuntimeError as error:
        raise RuntimeError(
            f"topology {topology.name!r}: needs the TPU compiler, which the extra mtljax[tpu] has"
        ) from error
