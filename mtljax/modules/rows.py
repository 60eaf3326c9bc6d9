"""Where the rows of activations lie, for parameters that are spread over the same devices."""

import jax
from jax.sharding import NamedSharding


def by_rows(x: jax.Array, rows: NamedSharding | None) -> jax.Array:
    """Keeps each row on its device, so that XLA brings parts of parameters together, not of rows.

    Args:
      x: ``[R, ...]``.
      rows: the sharding of R; None to leave it to XLA.
    """
    return x if rows is None else jax.lax.with_sharding_constraint(x, rows)
