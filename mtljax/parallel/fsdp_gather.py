"""Sharded parameters that are all-gathered at use (FSDP; Zhao et al., 2023)."""

from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mtljax.parallel.mesh import row_axes
from mtljax.parallel.rules import shardings


class FsdpShardings(NamedTuple):
    """The shardings of parameters, as trees of `NamedSharding` like them.

    Attributes:
      stored: between steps.
      used: in products with rows.
    """

    stored: Any
    used: Any


def fsdp_shardings(specs: Any, axes: Any, mesh: Mesh) -> FsdpShardings:
    """All-gathers parameters over the mesh axes that rows are split over.

    A parameter that is split over the same devices as the rows cannot meet them as it is. XLA may
    gather the parameter, or the rows; of an embedding it would choose the rows, which are larger.
    Stacked layers stay sharded here: the loop over them gathers one after the other.

    Args:
      specs: of the parameters, from `parameter_specs`.
      axes: logical names of their dimensions, as `parameter_specs` takes them.
      mesh: with the axes `AXES`.

    Returns:
      `FsdpShardings` for `gather_for_use`.
    """
    gathered = row_axes(mesh)

    def without_gathered(entry: Any) -> Any:
        names = () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)
        left = tuple(name for name in names if name not in gathered)
        return left[0] if len(left) == 1 else left or None

    def used_spec(spec: P, names: tuple[str, ...] | None) -> P:
        return spec if "layers" in (names or ()) else P(*map(without_gathered, spec))

    used = jax.tree.map(used_spec, specs, axes, is_leaf=lambda node: isinstance(node, P))
    return FsdpShardings(shardings(specs, mesh), shardings(used, mesh))


def gather_for_use(params: Any, where: FsdpShardings | None) -> Any:
    """The parameters as rows meet them; gradients with respect to them are sharded as stored.

    Args:
      params: a tree of arrays.
      where: their shardings; None to leave them to XLA.

    Returns:
      A tree like `params`.
    """
    if where is None:
        return params
    return jax.tree.map(_gather, params, where.used, where.stored)


def _gather(leaf: jax.Array, used: NamedSharding, stored: NamedSharding) -> jax.Array:
    @jax.custom_vjp
    def gather(leaf):
        return jax.lax.with_sharding_constraint(leaf, used)

    def backward(_: None, cotangent: jax.Array) -> tuple[jax.Array]:
        # As the parameter was used, first: else XLA may move the rows to where it is stored.
        cotangent = jax.lax.with_sharding_constraint(cotangent, used)
        return (jax.lax.with_sharding_constraint(cotangent, stored),)

    gather.defvjp(lambda leaf: (gather(leaf), None), backward)
    return gather(leaf)
