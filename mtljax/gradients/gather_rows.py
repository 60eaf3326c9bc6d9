"""The rows of a table that a batch reads, as a small table of their own."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class GatheredRows(NamedTuple):
    """A table of U rows in place of one of V.

    Attributes:
      rows: ``[U, *row]``; zeros in unused places.
      positions: like the ids, where each is found in `rows`.
      indices: ``[U]``, int32, where each row is found in the table: ascending, then V in unused
        places.
    """

    rows: jax.Array
    positions: jax.Array
    indices: jax.Array


def gather_rows(table: ArrayLike, ids: ArrayLike, size: int | None = None) -> GatheredRows:
    """Gathers the rows that a batch reads, so that gradients are as large as the batch, not V.

    Per-task gradients of a table are zero but for the rows that a task's own batch reads. Let the
    encoder look ids up in these rows, plus a parameter of zeros ``[U, *row]``: the gradient with
    respect to it is that of the rows, whichever they are for a task, and with the indices it is a
    leaf for `gramian` and `combine`. The table itself is not differentiated; `lagged_gradients`
    and sums over tasks do not fit, since the parameter stands for other rows in each task. A table
    that is tied to a softmax has gradients in all rows: leave it as it is.

    Args:
      table: ``[V, *row]``.
      ids: integers in ``[0, V)``, of any shape.
      size: U, equal for all groups of a batch: ``min(ids.size, V)``, the default, or more.

    Returns:
      `GatheredRows`: ``jnp.take(rows, positions, axis=0)`` is ``jnp.take(table, ids, axis=0)``.

    Raises:
      ValueError: a size that may not hold all rows.

    >>> from mtljax.gradients import Examples, RowGradients, combine, gramian, task_gradients
    >>> table = jnp.ones((50_000, 2))
    >>> def encode(shared, ids):
    ...     rows, positions, _ = gather_rows(table, ids)
    ...     return jnp.take(rows + shared["rows"], positions, axis=0) * shared["scale"]
    >>> def head(params, features, targets):
    ...     return jnp.sum(features * params)
    >>> ids = {"a": jnp.array([[7, 9], [7, 7]]), "b": jnp.array([[9, 9], [0, 9]])}
    >>> batch = {task: Examples(own, {task: ()}) for task, own in ids.items()}
    >>> params = {"a": jnp.array(1.0), "b": jnp.array(2.0)}
    >>> shared = {"rows": jnp.zeros((4, 2)), "scale": jnp.ones(2)}
    >>> grads = task_gradients(encode, dict.fromkeys(ids, head), shared, params, batch).shared
    >>> indices = jnp.stack([gather_rows(table, own).indices for own in ids.values()])
    >>> rows = RowGradients(indices, grads["rows"], 50_000)
    >>> gramian(rows)
    Array([[20., 12.],
           [12., 80.]], dtype=float32)
    >>> combine([1.0, 0.5], rows)[jnp.array([0, 7, 9]), 0]
    Array([1., 3., 4.], dtype=float32)
    """
    table, ids = jnp.asarray(table), jnp.asarray(ids, jnp.int32)
    num_rows = table.shape[0]
    enough = min(ids.size, num_rows)
    if size is not None and size < enough:
        raise ValueError(
            f"size must be {enough} or more for ids of shape {ids.shape} in {num_rows} rows, "
            f"got {size}"
        )
    indices, positions = jnp.unique(
        ids,
        return_inverse=True,
        size=enough if size is None else size,
        fill_value=num_rows,
    )
    rows = table.at[indices].get(mode="fill", fill_value=0)
    return GatheredRows(rows, positions.reshape(ids.shape).astype(jnp.int32), indices)
