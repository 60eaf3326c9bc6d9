"""Logical names for the dimensions of parameters, given where each parameter is made.

`mtljax.parallel` maps the names to axes of a mesh. They are metadata of the initializers alone
(`flax.linen.with_logical_partitioning`): `mtljax.modules.init` returns plain arrays, and
`mtljax.modules.logical_axes` the names.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn

Initializer = Callable[..., Any]


def named(initializer: Initializer, axes: Sequence[str]) -> Initializer:
    """An initializer of a parameter whose dimensions have names."""
    return nn.with_logical_partitioning(initializer, tuple(axes))


def named_dense(kernel: Sequence[str], bias: Sequence[str]) -> dict[str, Any]:
    """Arguments that name the dimensions of the kernel and bias of a dense layer.

    >>> sorted(named_dense(("features", "feed_forward"), ("feed_forward",)))
    ['bias_init', 'kernel_init']
    """
    return {
        "kernel_init": named(nn.initializers.lecun_normal(), kernel),
        "bias_init": named(nn.initializers.zeros, bias),
    }


def named_norm() -> dict[str, Any]:
    """Arguments that name the dimension of the scale and bias of a layer norm."""
    return {
        "scale_init": named(nn.initializers.ones, ("features",)),
        "bias_init": named(nn.initializers.zeros, ("features",)),
    }
