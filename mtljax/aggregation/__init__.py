"""Optax aggregators: from per-task gradients ``[T, *param]`` to one direction ``[*param]``.

- Any weighting as an aggregator: `from_weighting`; one for each group of parameters: `per_group`.
- Methods that act on coordinates: `graddrop`, `trimmed_mean`.
- Methods that keep numbers of the size of the gradients from step to step: `moco`, `db_mtl`,
  `excess_mtl`.
- The bilevel method `forum`.
- `guard` makes an aggregator of the bare formulas of a method of your own.
- `METHODS` and `REQUIRES`: the methods by name, and the keywords that they require.
"""

from mtljax.aggregation.db_mtl import db_mtl as db_mtl
from mtljax.aggregation.excess_mtl import excess_mtl as excess_mtl
from mtljax.aggregation.forum import forum as forum
from mtljax.aggregation.from_weighting import from_weighting as from_weighting
from mtljax.aggregation.graddrop import graddrop as graddrop
from mtljax.aggregation.guard import guard as guard
from mtljax.aggregation.moco import moco as moco
from mtljax.aggregation.per_group import per_group as per_group
from mtljax.aggregation.trimmed_mean import trimmed_mean as trimmed_mean

METHODS = {
    "db_mtl": db_mtl,
    "excess_mtl": excess_mtl,
    "forum": forum,
    "graddrop": graddrop,
    "moco": moco,
    "trimmed_mean": trimmed_mean,
}
"""From the name on the command line to the factory, whose first argument is the number of tasks."""

REQUIRES = {"forum": frozenset({"losses", "validation_grads", "inner_losses"})}
"""What the `update` of a method reads besides the gradients: keyword arguments, by name."""
