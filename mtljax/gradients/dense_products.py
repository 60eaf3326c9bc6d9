"""Inner products of dense leaves of per-task gradients."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

_FEW = 8
"""Tasks, at most, whose products a CPU adds up lane by lane: their sums are in its registers."""

LONG = 2**14
"""Columns from which on that is faster than a product of matrices."""

_LANES = 16
"""Columns apart that are added up apart."""

_DEPTH = 4
"""Products that are added before the sum is touched; of eight, the registers spill."""

_RUN = 2**13
"""Columns that are added up before the total is touched: short sums lose less to rounding."""

_PIECE = 2**15
"""Columns of one product of matrices, which stay in the cache while it is made."""


def dense_products(
    rows: Sequence[jax.Array], columns: Sequence[jax.Array] | None = None
) -> jax.Array:
    """Inner products of the rows of all leaves, those of a leaf over all of its parameter axes.

    Args:
      rows: leaves ``[T, *param]``, at least one.
      columns: leaves ``[U, *param]`` of the same parameters; None for the rows themselves.

    Returns:
      ``[T, U]``, float32, or as wide as the leaves, of which no product is rounded before.
    """
    # Rows twice would be read twice: in a loop, XLA does not see that they are the same.
    pairs = [(leaf,) for leaf in rows] if columns is None else list(zip(rows, columns, strict=True))
    return jax.lax.platform_dependent(pairs, cpu=_on_cpu, default=_leaf_by_leaf)


def leaf_products(rows: jax.Array, columns: jax.Array | None = None) -> jax.Array:
    """`dense_products` of one leaf, as one product of matrices."""
    columns = rows if columns is None else columns
    axes = tuple(range(1, rows.ndim))
    return jax.lax.dot_general(
        rows,
        columns,
        ((axes, axes), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.promote_types(jnp.result_type(rows, columns), jnp.float32),
    )


def _leaf_by_leaf(pairs: Sequence[tuple[jax.Array, ...]]) -> jax.Array:
    return functools.reduce(jnp.add, [leaf_products(*pair) for pair in pairs])


def _on_cpu(pairs: Sequence[tuple[jax.Array, ...]]) -> jax.Array:
    few = max(leaf.shape[0] for leaf in pairs[0]) <= _FEW
    long, parts = [], []
    for pair in pairs:
        if math.prod(pair[0].shape[1:]) < LONG:
            parts.append(leaf_products(*pair))
            continue
        # On a CPU a leaf is one block of memory, so that this moves nothing.
        flat = tuple(leaf.reshape(leaf.shape[0], -1) for leaf in pair)
        if few:
            long.append(flat)
        else:
            parts.append(by_pieces(leaf_products, *flat, piece=_PIECE))
    if long:
        parts.append(_lane_by_lane(long))
    return functools.reduce(jnp.add, parts)


def by_pieces(multiply: Callable[..., jax.Array], *leaves: jax.Array, piece: int) -> jax.Array:
    """Adds up what `multiply` makes of leaves ``[T, N]``, some columns of all at a time.

    A long product of few rows is faster so on a CPU, and what is made of the rows before they are
    multiplied is never as large as a leaf.
    """
    size = leaves[0].shape[1]
    whole = size // piece
    if whole < 2:
        return multiply(*leaves)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        cut = [jax.lax.dynamic_slice_in_dim(leaf, i * piece, piece, 1) for leaf in leaves]
        return total + multiply(*cut)

    start = jnp.zeros_like(jax.eval_shape(multiply, *[leaf[:, :piece] for leaf in leaves]))
    if whole * piece < size:
        start = multiply(*[leaf[:, whole * piece :] for leaf in leaves])
    return jax.lax.fori_loop(0, whole, add, start)


def _lane_by_lane(pairs: Sequence[tuple[jax.Array, ...]]) -> jax.Array:
    # A product of matrices that has few rows and a long sum runs at a third of what is possible,
    # or less: its code is made for large results. Here every number is read once.
    dtype = jnp.promote_types(jnp.result_type(*itertools.chain(*pairs)), jnp.float32)
    first, step = pairs[0], _LANES * _DEPTH
    shape = (first[0].shape[0], first[-1].shape[0], _LANES)
    lanes, rest = jnp.zeros_like(first[0], dtype, shape=shape), []

    def add_run(pair: tuple[jax.Array, ...], run: jax.Array, total: jax.Array) -> jax.Array:
        def add(i: jax.Array, sums: jax.Array) -> jax.Array:
            cut = [
                jax.lax.dynamic_slice_in_dim(leaf, run * _RUN + i * step, step, 1)
                .astype(dtype)
                .reshape(leaf.shape[0], _DEPTH, _LANES)
                for leaf in pair
            ]
            one, other = cut[0], cut[-1]
            return sums + sum(one[:, None, d] * other[None, :, d] for d in range(_DEPTH))

        return total + jax.lax.fori_loop(0, _RUN // step, add, jnp.zeros_like(total))

    for pair in pairs:
        runs = pair[0].shape[1] // _RUN
        lanes = jax.lax.fori_loop(0, runs, functools.partial(add_run, pair), lanes)
        if runs * _RUN < pair[0].shape[1]:
            rest.append(leaf_products(*[leaf[:, runs * _RUN :] for leaf in pair]))
    return functools.reduce(jnp.add, rest, lanes.sum(-1))
