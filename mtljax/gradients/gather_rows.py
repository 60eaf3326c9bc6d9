"""Gathers the rows of an embedding table that a batch reads into a small table."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class GatheredRows(NamedTuple):
    """A table of U rows that replaces one of V.

    Attributes:
      rows: ``[U, *row]``, of the dtype of the table; unused rows are zero.
      positions: int32, of the shape of the ids: the index in `rows` of each id.
      indices: ``[U]``, int32, the index in the table of each row: ascending, then V for unused
        rows.
    """

    rows: jax.Array
    positions: jax.Array
    indices: jax.Array


def gather_rows(table: ArrayLike, ids: ArrayLike, size: int | None = None) -> GatheredRows:
    """Gathers the rows that a batch reads, so that gradients are as large as the batch, not V.

    Per-task gradients of a table are zero but for the rows that a task's own batch reads. Let the
    encoder look ids up in these rows, plus a parameter of zeros ``[U, *row]``: the gradient with
    respect to that parameter is the gradient of the rows, and with the indices it is a leaf for
    `gramian` and `combine`. The table itself is not differentiated. `lagged_gradients` and other
    sums over tasks do not fit, since the parameter stands for different rows in each task. A table
    that is tied to a softmax has gradients in all rows: differentiate it directly.

    Args:
      table: the table ``[V, *row]``, of any dtype.
      ids: the ids that are looked up, integers in ``[0, V)``, of any shape.
      size: U, equal for all groups of a batch: ``min(ids.size, V)``, the default, or more.

    Returns:
      `GatheredRows`: ``jnp.take(rows, positions, axis=0)`` is ``jnp.take(table, ids, axis=0)``.

    Raises:
      ValueError: `size` is smaller than ``min(ids.size, V)``.

    >>> from mtljax.gradients import Examples, RowGradients, combine, gramian, task_gradients
    >>> table = jnp.ones((50_000, 2))
    >>> def encode(shared, ids):
    ...     rows, positions, _ = gather_rows(table, ids)
    ...     return jnp.take(rows + shared["rows"], positions, axis=0) * shared["scale"]
    >>> def head(params, features, targets):
    ...     return jnp.sum(features * params)
    >>> ids = {"a": jnp.array([[7, 9], [7, 7]]), "b": jnp.array([[9, 9], [0, 9]])}
    >>> batch = {task: Examples(task_ids, {task: ()}) for task, task_ids in ids.items()}
    >>> params = {"a": jnp.array(1.0), "b": jnp.array(2.0)}
    >>> shared = {"rows": jnp.zeros((4, 2)), "scale": jnp.ones(2)}
    >>> grads = task_gradients(encode, dict.fromkeys(ids, head), shared, params, batch).shared
    >>> indices = jnp.stack([gather_rows(table, task_ids).indices for task_ids in ids.values()])
    >>> rows = RowGradients(indices, grads["rows"], 50_000)
    >>> gramian(rows)
    Array([[20., 12.],
           [12., 80.]], dtype=float32)
    >>> combine([1.0, 0.5], rows)[jnp.array([0, 7, 9]), 0]
    Array([1., 3., 4.], dtype=float32)
    """
    table, ids = jnp.asarray(table), jnp.asarray(ids, jnp.int32)
    num_rows = table.shape[0]
    most_rows = min(ids.size, num_rows)
    if size is not None and size < most_rows:
        raise ValueError(
            f"size must be {most_rows} or more for ids of shape {ids.shape} in {num_rows} rows, "
            f"got {size}"
        )
    # A fixed size, as jit needs: the index of unused rows lies past the end of the table.
    indices, positions = jnp.unique(
        ids,
        return_inverse=True,
        size=most_rows if size is None else size,
        fill_value=num_rows,
    )
    rows = table.at[indices].get(mode="fill", fill_value=0)
    return GatheredRows(rows, positions.reshape(ids.shape).astype(jnp.int32), indices)
