"""A table whose rows are added to what is read: learned positions, token types."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtljax.modules.named_axes import named


class AddedRows(nn.Module):
    """Adds a row of a table to each position.

    Attributes:
      rows: of the table.
    """

    rows: int

    @nn.compact
    def __call__(self, x: jax.Array, index: jax.Array) -> jax.Array:
        """Add row ``index`` ``[R, S]`` to ``x`` ``[R, S, D]``; beyond the table there are NaN."""
        init = named(nn.initializers.normal(0.02), ("table_rows", "embedding"))
        table = self.param("table", init, (self.rows, x.shape[-1]))
        return x + jnp.take(table, index, axis=0).astype(x.dtype)
