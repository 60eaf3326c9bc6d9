"""The operations a second that a device at hand can do."""

import re
import time
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.parallel.hardware import CHIPS

_GPUS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L4": 121e12}  # dense bfloat16
_TPUS = (("v4", "v4"), ("v5 lite", "v5e"), ("v5e", "v5e"), ("v6", "v6e"), ("v5", "v5p"))
_SIZE, _TRIES = 2048, 10


def peak_flops(device: Any) -> tuple[float, str]:
    """Bfloat16 operations a second of a device, as its maker states them, or measured.

    Args:
      device: one of `jax.devices()`.

    Returns:
      FLOPs a second, and where they are from: 'data sheet', or 'measured', what a product of two
      float32 matrices reaches here, on all devices of a CPU together.

    >>> class Device:
    ...     device_kind = "TPU v5 lite"
    >>> peak_flops(Device())
    (197000000000000.0, 'data sheet')
    """
    kind = device.device_kind
    for name, peak in _GPUS.items():
        if re.search(rf"\b{name}\b", kind):
            return peak, "data sheet"
    if "TPU" in kind:
        for part, name in _TPUS:
            if part in kind:
                return CHIPS[name].flops, "data sheet"
    return measured_peak(device), "measured"


def measured_peak(device: Any) -> float:
    """FLOPs a second of a large product of float32 on a device, the best of ten."""
    a = jax.device_put(jnp.ones((_SIZE, _SIZE), jnp.float32), device)
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(a))
    best = float("inf")
    for _ in range(_TRIES):
        began = time.perf_counter()
        jax.block_until_ready(product(a))
        best = min(best, time.perf_counter() - began)
    return 2 * _SIZE**3 / best
