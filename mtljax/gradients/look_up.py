"""Lookups in tables, which the gradients of tasks can be told from."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state
from jax.typing import ArrayLike


def look_up(table: ArrayLike, ids: ArrayLike) -> jax.Array:
    """The rows of a table at some ids: ``jnp.take(table, ids, axis=0)``, and its derivatives.

    An encoder that reads a parameter by this function tells `task_gradients` which rows a task
    reads: where these are few, the gradient of the table is a leaf of `RowGradients`, and nothing
    has the size ``[T, V, *row]``. Whatever else is done with the table has its gradient as ever.
    The parameter is recognised if it is given as it lies in the tree of the shared parameters: one
    that was cast or otherwise computed, or that a compiled loop, `jax.jit` or `jax.checkpoint`
    inside of the encoder passes on, has a dense gradient.

    Args:
      table: ``[V, *row]``.
      ids: integers of any shape; those outside of ``[-V, V)`` give NaN, as `jnp.take` does.

    Returns:
      ``[*ids, *row]``, of the dtype of the table.

    >>> from mtljax.gradients import Examples, task_gradients
    >>> def encode(shared, ids):
    ...     return look_up(shared["words"], ids)
    >>> def head(params, features, targets):
    ...     return jnp.sum(features * params)
    >>> shared, params = {"words": jnp.ones((50_000, 2))}, {"a": jnp.array(2.0)}
    >>> batch = {"a": Examples(jnp.array([[7, 9], [7, 7]]), {"a": ()})}
    >>> words = task_gradients(encode, {"a": head}, shared, params, batch).shared["words"]
    >>> words.indices, words.values[..., 0]
    (Array([[    7,     9, 50000, 50000]], dtype=int32), Array([[6., 2., 0., 0.]], dtype=float32))
    """
    recorder = _RECORDER.get()
    if recorder is not None and get_opaque_trace_state() == recorder.trace_state:
        for path, leaf in recorder.leaves.items():
            if leaf is table:
                return recorder.read(path, jnp.asarray(ids))
    return jnp.take(jnp.asarray(table), ids, axis=0)


@dataclasses.dataclass
class Recorder:
    """The lookups of one trace of an encoder.

    Attributes:
      leaves: the parameters that are recognised, by index among the leaves of a tree.
      tables: what is read in their place, of the same values.
      added: for each lookup, what is added to the rows that it reads; None for nothing.
      trace_state: of JAX where the encoder is traced: functions inside have arrays of their own.
      found: of each lookup the index of the parameter, and the ids.
    """

    leaves: Mapping[int, Any]
    tables: Mapping[int, Any]
    added: Sequence[jax.Array] | None
    trace_state: Any
    found: list[tuple[int, jax.Array]] = dataclasses.field(default_factory=list)

    def read(self, index: int, ids: jax.Array) -> jax.Array:
        """The rows of a table, plus what is added to them."""
        rows = jnp.take(self.tables[index], ids, axis=0)
        if self.added is not None:
            rows = rows + self.added[len(self.found)]
        self.found.append((index, ids))
        return rows


_RECORDER: contextvars.ContextVar[Recorder | None] = contextvars.ContextVar("lookups", default=None)


@contextlib.contextmanager
def recorded(
    leaves: Mapping[int, Any],
    tables: Mapping[int, Any],
    added: Sequence[jax.Array] | None = None,
) -> Iterator[list[tuple[int, jax.Array]]]:
    """Inside, `look_up` reads `tables` in place of `leaves`, and its lookups are listed.

    Args:
      leaves: parameters by index; other tables are looked up as ever.
      tables: arrays of the same shapes, by index.
      added: for each lookup in these, an array to be added to its result; None for nothing.

    Yields:
      A list that grows with each lookup: the index of the table, and the ids.
    """
    recorder = Recorder(leaves, tables, added, get_opaque_trace_state())
    token = _RECORDER.set(recorder)
    try:
        yield recorder.found
    finally:
        _RECORDER.reset(token)
