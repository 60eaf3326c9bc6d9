"""How devices share a step."""

import dataclasses
from typing import Literal

from mtljax.ranges import at_least


@dataclasses.dataclass(frozen=True)
class ParallelConfig:
    """How devices share a step: a mesh of three axes; by default one device.

    Attributes:
      task: devices along the axis of tasks, where groups of devices work on different tasks if
        `placement` says so; 0 for all devices that the other axes leave.
      data: devices along the axis of rows; 0 for all devices that the other axes leave.
      model: devices along the axis of words, attention heads and feed-forward features; 0 for all
        devices that the other axes leave.
      strategy: how the step is compiled: 'jit', partitioned by XLA from the shardings of its
        arguments; 'shard_map' or 'pmap', one program that each device runs on its rows.
      sharding: where parameters and the optimizer's state are kept: 'replicated', on each device;
        'fsdp', sharded over the devices.
      placement: which tasks a device works on: 'task', groups of devices on different tasks; 'off',
        all devices on all tasks; 'auto', whichever moves fewer bytes between devices.
      exchange: dtype in which gradients of tasks on groups of devices, and their updates, travel:
        'auto', that of the encoder's computation; 'float32'; 'bfloat16'.
      rules: shardings 'REGEX=AXES' of the parameters whose path matches the regular expression, in
        place of the built-in ones: a mesh axis for each dimension, divided by commas, 'data+model'
        for two axes, '-' for none. The first rule that matches counts.
      xla_flags: flags of XLA 'xla_NAME=VALUE', which commands set before JAX starts; from Python
        they must be in the environment's XLA_FLAGS before.
    """

    task: int = at_least(-1, default=1)
    data: int = at_least(-1, default=1)
    model: int = at_least(-1, default=1)
    strategy: Literal["jit", "shard_map", "pmap"] = "jit"
    sharding: Literal["replicated", "fsdp"] = "replicated"
    placement: Literal["auto", "off", "task"] = "auto"
    exchange: Literal["auto", "float32", "bfloat16"] = "auto"
    rules: tuple[str, ...] = ()
    xla_flags: tuple[str, ...] = ()
