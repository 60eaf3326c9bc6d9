"""Inner products of dense leaves of per-task gradients."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

_MAX_LANE_TASKS = 8
"""Tasks, at most, whose products a CPU adds up in lanes: their sums fit into its registers."""

LONG = 2**14
"""Parameters of a leaf from which on that, or blocks, are faster than one product of matrices."""

_LANES = 16
"""Partial sums of each inner product that a CPU keeps, so that it adds to all of them at once."""

_DEPTH = 4
"""Products per lane that are added before the partial sum is; with eight, the registers spill."""

_RUN = 2**13
"""Parameters that are summed before the total is updated: short sums lose less to rounding."""

_BLOCK = 2**15
"""Parameters in one product of matrices, whose operands stay in the cache while it is computed."""


def dense_products(
    leaves: Sequence[jax.Array], other_leaves: Sequence[jax.Array] | None = None
) -> jax.Array:
    """Inner products of per-task gradients, summed over all parameters of all leaves.

    Args:
      leaves: arrays ``[T, *param]``, at least one.
      other_leaves: arrays ``[U, *param]`` of the same parameters; None for `leaves` themselves.

    Returns:
      ``[T, U]``, float32 or as wide as the leaves; products are not rounded before they are summed.
    """
    # One array, not twice the same: in a loop XLA does not see that they are equal, and reads both.
    pairs = (
        [(leaf,) for leaf in leaves]
        if other_leaves is None
        else list(zip(leaves, other_leaves, strict=True))
    )
    return jax.lax.platform_dependent(pairs, cpu=_on_cpu, default=_leaf_by_leaf)


def leaf_products(leaf: jax.Array, other: jax.Array | None = None) -> jax.Array:
    """`dense_products` of one leaf, as one product of matrices.

    Args:
      leaf: ``[T, *param]``.
      other: ``[U, *param]``; None for `leaf` itself.

    Returns:
      ``[T, U]``, float32 or as wide as the leaf.
    """
    other = leaf if other is None else other
    axes = tuple(range(1, leaf.ndim))
    return jax.lax.dot_general(
        leaf,
        other,
        ((axes, axes), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.promote_types(jnp.result_type(leaf, other), jnp.float32),
    )


def _leaf_by_leaf(pairs: Sequence[tuple[jax.Array, ...]]) -> jax.Array:
    return functools.reduce(jnp.add, [leaf_products(*pair) for pair in pairs])


def _on_cpu(pairs: Sequence[tuple[jax.Array, ...]]) -> jax.Array:
    in_lanes = max(leaf.shape[0] for leaf in pairs[0]) <= _MAX_LANE_TASKS
    long_pairs, products = [], []
    for pair in pairs:
        if math.prod(pair[0].shape[1:]) < LONG:
            products.append(leaf_products(*pair))
            continue
        # On a CPU a leaf is one block of memory, so that this moves nothing.
        flat = tuple(leaf.reshape(leaf.shape[0], -1) for leaf in pair)
        if in_lanes:
            long_pairs.append(flat)
        else:
            products.append(sum_over_blocks(leaf_products, *flat, block=_BLOCK))
    if long_pairs:
        products.append(_sum_in_lanes(long_pairs))
    return functools.reduce(jnp.add, products)


def sum_over_blocks(
    multiply: Callable[..., jax.Array], *leaves: jax.Array, block: int
) -> jax.Array:
    """The sum of ``multiply(*columns)`` over blocks of the columns of flat leaves.

    On a CPU that is faster than a long product of few rows, and what `multiply` makes of its
    arguments before it multiplies them is never as large as a leaf.

    Args:
      multiply: from arrays ``[T, n]``, the same columns of each leaf, to a sum over the columns.
      *leaves: arrays ``[T, N]``.
      block: columns of one call; the last `N % block` are another one.

    Returns:
      The sum, of the shape and dtype that `multiply` returns.
    """
    size = leaves[0].shape[1]
    num_blocks = size // block
    if num_blocks < 2:
        return multiply(*leaves)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        columns = [jax.lax.dynamic_slice_in_dim(leaf, i * block, block, 1) for leaf in leaves]
        return total + multiply(*columns)

    start = jnp.zeros_like(jax.eval_shape(multiply, *[leaf[:, :block] for leaf in leaves]))
    if num_blocks * block < size:
        start = multiply(*[leaf[:, num_blocks * block :] for leaf in leaves])
    return jax.lax.fori_loop(0, num_blocks, add, start)


def _sum_in_lanes(pairs: Sequence[tuple[jax.Array, ...]]) -> jax.Array:
    # A product of matrices with few rows and a long sum runs at a third of the possible speed or
    # less: its code is made for large results. Here every number is read once.
    dtype = jnp.promote_types(jnp.result_type(*itertools.chain(*pairs)), jnp.float32)
    first, step = pairs[0], _LANES * _DEPTH
    shape = (first[0].shape[0], first[-1].shape[0], _LANES)
    lanes, remainders = jnp.zeros_like(first[0], dtype, shape=shape), []

    def add_run(pair: tuple[jax.Array, ...], run: jax.Array, total: jax.Array) -> jax.Array:
        def add(i: jax.Array, sums: jax.Array) -> jax.Array:
            columns = [
                jax.lax.dynamic_slice_in_dim(leaf, run * _RUN + i * step, step, 1)
                .astype(dtype)
                .reshape(leaf.shape[0], _DEPTH, _LANES)
                for leaf in pair
            ]
            left, right = columns[0], columns[-1]  # the same where a pair has one leaf
            return sums + sum(left[:, None, d] * right[None, :, d] for d in range(_DEPTH))

        return total + jax.lax.fori_loop(0, _RUN // step, add, jnp.zeros_like(total))

    for pair in pairs:
        runs = pair[0].shape[1] // _RUN
        lanes = jax.lax.fori_loop(0, runs, functools.partial(add_run, pair), lanes)
        if runs * _RUN < pair[0].shape[1]:
            remainders.append(leaf_products(*[leaf[:, runs * _RUN :] for leaf in pair]))
    return functools.reduce(jnp.add, remainders, lanes.sum(-1))
