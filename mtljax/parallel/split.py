"""What the program of one device must add up where a step's rows are split among several.

Under `jax.shard_map` and `jax.pmap` a device sees its own rows. A loss is a mean over all rows,
weighted, so that each device has a part of its numerator and all share one denominator; the
gradient is the sum of what the devices have, and Gramians are products of such sums. Means over
devices, of losses or of Gramians, would be something else.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Axes = tuple[str, ...]


class Split(NamedTuple):
    """How rows are split, as the program of one device sees it.

    Attributes:
      axes: of the mesh, over whose devices the rows are split; none where the program sees all.
      summed: whether gradients are summed over the devices, or left as each device's own part.
    """

    axes: Axes = ()
    summed: bool = True


WHOLE = Split()
"""A program that sees all rows."""


def psum_with_local_gradient(tree: Any, axes: Axes) -> Any:
    """The sum over the devices; to differentiation, a device's own part of it.

    So that the gradient of a loss of all devices is, on each, the part of its own rows, which
    `identity_with_psum_gradient` adds up.
    """
    return jax.tree.map(lambda leaf: _psum_with_local_gradient(axes, leaf), tree) if axes else tree


def identity_with_psum_gradient(tree: Any, axes: Axes) -> Any:
    """The tree as it is; gradients with respect to it are summed over the devices."""
    return (
        jax.tree.map(lambda leaf: _identity_with_psum_gradient(axes, leaf), tree) if axes else tree
    )


def fold_axis_index(key: jax.Array | None, axes: Axes) -> jax.Array | None:
    """The device's own random key, for what is drawn for each row."""
    if key is None or not axes:
        return key
    return jax.random.fold_in(key, jax.lax.axis_index(axes))


def share_of_mean(weights: jax.Array, axes: Axes) -> jax.Array:
    """The device's share of all weights: a mean over its rows, times this, is its part of the mean.

    Args:
      weights: of the elements of its rows, not negative.
      axes: of the devices.

    Returns:
      A scalar float32, 0 where no device has a weight.
    """
    own = jnp.sum(jnp.asarray(weights, jnp.float32))
    whole = jax.lax.psum(own, axes)
    return own / jnp.where(whole == 0, 1, whole)


def anywhere(true: jax.Array, axes: Axes) -> jax.Array:
    """Whether something is true on any of the devices."""
    return jax.lax.psum(true.astype(jnp.int32), axes) > 0 if axes else true


def _of_axes(forward: Any, backward: Any) -> Any:
    @jax.custom_vjp
    def function(leaf):
        return forward(leaf)

    function.defvjp(lambda leaf: (forward(leaf), None), lambda _, slope: (backward(slope),))
    return function


def _psum_with_local_gradient(axes: Axes, leaf: jax.Array) -> jax.Array:
    return _of_axes(lambda x: jax.lax.psum(x, axes), lambda slope: slope)(leaf)


def _identity_with_psum_gradient(axes: Axes, leaf: jax.Array) -> jax.Array:
    return _of_axes(lambda x: x, lambda slope: jax.lax.psum(slope, axes))(leaf)
