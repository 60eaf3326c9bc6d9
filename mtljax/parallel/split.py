"""Sums over devices in a program that sees its device's rows alone.

Under `jax.shard_map` and `jax.pmap` a device sees its own rows. A loss is a weighted mean over all
rows: each device has a part of its numerator, and all have one denominator. The gradient is the sum
of the devices' gradients, and Gramians are products of such sums. Means over devices, of losses or
of Gramians, would be other numbers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Axes = tuple[str, ...]


class Split(NamedTuple):
    """How rows are split among devices, as the program of one device sees it.

    Attributes:
      axes: mesh axes that the rows are split over; none where the program sees all rows.
      summed: whether gradients are summed over the devices; else each device has those of its rows.
    """

    axes: Axes = ()
    summed: bool = True


ALL_ROWS = Split()
"""A program that sees all rows."""


def psum_with_local_gradient(tree: Any, axes: Axes) -> Any:
    """The sum over the devices, whose cotangent is passed on unchanged.

    The gradient of a loss of all rows is then, on each device, that of its own rows, for
    `identity_with_psum_gradient` to sum.

    Args:
      tree: arrays of this device.
      axes: of the mesh; none for no sum.

    Returns:
      A tree like `tree`, equal on all devices.
    """
    return jax.tree.map(lambda leaf: _psum_with_local_gradient(axes, leaf), tree) if axes else tree


def identity_with_psum_gradient(tree: Any, axes: Axes) -> Any:
    """The tree unchanged; gradients with respect to it are summed over the devices.

    Args:
      tree: arrays, equal on all devices, such as parameters.
      axes: of the mesh; none for no sum.

    Returns:
      The same tree.
    """
    return (
        jax.tree.map(lambda leaf: _identity_with_psum_gradient(axes, leaf), tree) if axes else tree
    )


def first_row(count: int, axes: Axes) -> jax.Array | int:
    """The number of this device's first row among all rows that are split over the devices.

    Args:
      count: rows of each device.
      axes: of the mesh; none where the program sees all rows.

    Returns:
      int32 scalar; 0 without axes.
    """
    return jax.lax.axis_index(axes) * count if axes else 0


def share_of_mean(weights: jax.Array, axes: Axes) -> jax.Array:
    """The device's share of all weights: its mean times this, summed over devices, is the mean.

    Args:
      weights: of the elements of its rows, any shape, not negative.
      axes: of the mesh.

    Returns:
      A scalar float32, 0 where no device has a weight.
    """
    total = jnp.sum(jnp.asarray(weights, jnp.float32))
    over_devices = jax.lax.psum(total, axes)
    return total / jnp.where(over_devices == 0, 1, over_devices)


def any_device(flags: jax.Array, axes: Axes) -> jax.Array:
    """Whether a flag is true on any of the devices: bool, of the shape of `flags`."""
    return jax.lax.psum(flags.astype(jnp.int32), axes) > 0 if axes else flags


def _with_backward(forward: Any, backward: Any) -> Any:
    @jax.custom_vjp
    def function(leaf):
        return forward(leaf)

    function.defvjp(lambda leaf: (forward(leaf), None), lambda _, cotangent: (backward(cotangent),))
    return function


def _psum_with_local_gradient(axes: Axes, leaf: jax.Array) -> jax.Array:
    return _with_backward(lambda x: jax.lax.psum(x, axes), lambda cotangent: cotangent)(leaf)


def _identity_with_psum_gradient(axes: Axes, leaf: jax.Array) -> jax.Array:
    return _with_backward(lambda x: x, lambda cotangent: jax.lax.psum(cotangent, axes))(leaf)
