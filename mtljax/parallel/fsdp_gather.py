"""Parameters that are kept in parts, and brought together where they are used."""

from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mtljax.parallel.mesh import row_axes
from mtljax.parallel.rules import shardings

_SCANNED = "layers"


class Residence(NamedTuple):
    """Where parameters are, as trees of shardings like them.

    Attributes:
      kept: between steps.
      used: where rows meet them.
    """

    kept: Any
    used: Any


def residence(specs: Any, mesh: Mesh) -> Residence:
    """Parameters brought together over the axes that rows are split over.

    A parameter that is split over the same devices as the rows cannot meet them as it is. XLA may
    bring the parameter together, or the rows; of an embedding it would choose the rows, which are
    many. Layers that are stacked along an axis stay in parts here: they are brought together one
    after the other, in the loop.

    Args:
      specs: of the parameters, from `parameter_specs`.
      mesh: with the axes `AXES`.
    """
    spread = row_axes(mesh)

    def without(entry: Any) -> Any:
        names = () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)
        left = tuple(name for name in names if name not in spread)
        return left[0] if len(left) == 1 else left or None

    def used(path: Any, spec: P) -> P:
        scanned = any(jax.tree_util.keystr((key,), simple=True) == _SCANNED for key in path)
        return spec if scanned else P(*map(without, spec))

    found = jax.tree_util.tree_map_with_path(used, specs, is_leaf=lambda node: isinstance(node, P))
    return Residence(shardings(specs, mesh), shardings(found, mesh))


def together(tree: Any, where: Residence | None) -> Any:
    """The parameters as they are used; their gradients go where the parameters are kept."""
    if where is None:
        return tree
    return jax.tree.map(_moved, tree, where.used, where.kept)


def _moved(leaf: jax.Array, used: NamedSharding, kept: NamedSharding) -> jax.Array:
    @jax.custom_vjp
    def move(leaf):
        return jax.lax.with_sharding_constraint(leaf, used)

    def back(_: None, slope: jax.Array) -> tuple[jax.Array]:
        # First where it was used, lest the rows be moved to where it is kept.
        slope = jax.lax.with_sharding_constraint(slope, used)
        return (jax.lax.with_sharding_constraint(slope, kept),)

    move.defvjp(lambda leaf: (move(leaf), None), back)
    return move(leaf)
