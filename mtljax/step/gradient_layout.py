"""The layouts of the per-task gradients of the shared parameters on devices.

A step is written once for both layouts: it asks the layout for inner products, and for gradients in
the shapes of the parameters. The layout is chosen once, where a step is made.
"""

import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from mtljax import gradients
from mtljax.gradients import ScaledDiagonal, ScaledGramian
from mtljax.parallel.split import psum_with_local_gradient
from mtljax.parallel.task_exchange import (
    FLAT,
    exchanged_specs,
    flatten_and_pad,
    split_dimensions,
    unflatten_leaves,
)


@dataclasses.dataclass(frozen=True)
class FullGradients:
    """Gradients ``[T, *param]`` that a program sees in full; XLA decides on their shardings.

    Attributes:
      axes: mesh axes over whose devices the rows of a batch are split under `jax.shard_map`; each
        device then has the full gradients, summed.
    """

    axes: tuple[str, ...] = ()

    def scaled_gramian(self, task_grads: Any, present: jax.Array) -> ScaledGramian:
        """See `mtljax.gradients.scaled_gramian`; `task_grads` has leaves ``[T, *param]``."""
        return gradients.scaled_gramian(task_grads, mask=present)

    def scaled_gramian_diagonal(self, task_grads: Any, present: jax.Array) -> ScaledDiagonal:
        """See `mtljax.gradients.scaled_gramian_diagonal`."""
        return gradients.scaled_gramian_diagonal(task_grads, mask=present)

    def cross_gramian(self, task_grads: Any, other_grads: Any) -> jax.Array:
        """See `mtljax.gradients.cross_gramian`: ``[T, U]``."""
        return gradients.cross_gramian(task_grads, other_grads)

    def feature_gramian(self, task_grads: Any) -> jax.Array:
        """The Gramian of gradients of features, whose rows are split like those of the batch."""
        return psum_with_local_gradient(gradients.gramian(task_grads), self.axes)

    def to_parameter_shapes(self, tree: Any, leading_axes: int) -> Any:
        """Leaves ``[..., *param]``, which they are already."""
        del leading_axes
        return tree

    def to_shards(self, task_grads: Any) -> Any:
        """Gradients as this layout has them, from leaves ``[T, *param]``."""
        return task_grads


@dataclasses.dataclass(frozen=True)
class ShardedGradients:
    """Gradients of which each device has a shard of every parameter, for all tasks.

    That is how `mtljax.parallel.task_exchange` leaves them: a leaf ``[T, *param]`` is split along
    the largest dimension that divides; one of which no dimension does is flat and padded.

    Attributes:
      mesh: the mesh of the devices.
      axes: the mesh axes that parameters are split over.
      shapes: the shapes of the shared parameters, a tree of `jax.ShapeDtypeStruct`.
    """

    mesh: Mesh
    axes: tuple[str, ...]
    shapes: Any

    @property
    def dimensions(self) -> Any:
        """The dimension along which each parameter is split, see `split_dimensions`."""
        return split_dimensions(self.shapes, self._device_count)

    @property
    def _device_count(self) -> int:
        count = 1
        for name in self.axes:
            count *= self.mesh.shape[name]
        return count

    def scaled_gramian(self, task_grads: Any, present: jax.Array) -> ScaledGramian:
        """See `mtljax.gradients.scaled_gramian`; the products of the parts are summed."""
        return self._on_shards(gradients.scaled_gramian, task_grads, mask=present)

    def scaled_gramian_diagonal(self, task_grads: Any, present: jax.Array) -> ScaledDiagonal:
        """See `mtljax.gradients.scaled_gramian_diagonal`; those of the parts are summed."""
        return self._on_shards(gradients.scaled_gramian_diagonal, task_grads, mask=present)

    def cross_gramian(self, task_grads: Any, other_grads: Any) -> jax.Array:
        """See `mtljax.gradients.cross_gramian`; the products of the parts are summed."""
        return self._on_shards(_summed_cross_gramian, task_grads, other_grads)

    def to_parameter_shapes(self, tree: Any, leading_axes: int) -> Any:
        """Leaves ``[..., *param]``: flat and padded leaves get the shape of their parameter.

        Args:
          tree: leaves of this layout, after `leading_axes` other axes.
          leading_axes: 1 where there is an axis of tasks, else 0.
        """
        return unflatten_leaves(tree, self.dimensions, self.shapes, leading_axes)

    def to_shards(self, task_grads: Any) -> Any:
        """Undoes `to_parameter_shapes` for leaves ``[T, *param]``; others are left as they are."""

        def shard(leaf: jax.Array, dimension: int, parameter: Any) -> jax.Array:
            is_full = dimension == FLAT and leaf.shape[1:] == parameter.shape
            return flatten_and_pad(leaf, self._device_count, 1) if is_full else leaf

        return jax.tree.map(shard, task_grads, self.dimensions, self.shapes)

    def _on_shards(self, function: Any, *trees: Any, mask: jax.Array | None = None) -> Any:
        specs = exchanged_specs(self.dimensions, self.axes, lead=1)

        def of_device(mask: jax.Array | None, *parts: Any) -> Any:
            return function(*parts, mask=mask, axis_name=self.axes)

        return jax.shard_map(
            of_device,
            mesh=self.mesh,
            in_specs=(P(), *(specs,) * len(trees)),
            out_specs=P(),
            check_vma=False,
        )(mask, *trees)


GradientLayout = FullGradients | ShardedGradients


def _summed_cross_gramian(
    task_grads: Any, other_grads: Any, mask: None, axis_name: tuple[str, ...]
) -> jax.Array:
    del mask
    return psum_with_local_gradient(gradients.cross_gramian(task_grads, other_grads), axis_name)
