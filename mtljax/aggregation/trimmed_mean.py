"""The mean of each coordinate without its extremes."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax.experimental import aggregating

from mtljax.aggregation.rows import counted_tasks, per_row
from mtljax.weighting.common.arguments import check_count

_MOST_WIRES = 32


def trimmed_mean(num_tasks: int, *, trim: int = 1) -> aggregating.Aggregator:
    """Averages each coordinate over the tasks without the `trim` largest and smallest entries.

    Yin, Chen, Ramchandran and Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates", ICML 2018, arXiv 1803.01498. The entries of a coordinate are put in order,
    `trim` are left out at both ends, the others averaged: on the mean scale. Stateless.

    | input | direction |
    |---|---|
    | trim 0 | mean |
    | trim (m-1)/2, m odd | median |
    | m tasks counted, m <= 2 trim | trim (m-1)/2, rounded down: the median |
    | one task | its gradient |
    | identical gradients | that gradient |
    | absent task, or one whose gradient or loss is not finite | the method on the others |
    | no task left | 0 |

    Signals: the gradients.

    For T above 32 its cost grows with `trim`.

    Prefer it where a few tasks now and then send gradients that are far off.

    Args:
      num_tasks: T.
      trim: entries left out at each end, 0 or more.

    Returns:
      An Optax aggregator. Its `update` takes leaves ``[T, *param]``, and ``mask [T]`` and
      ``losses [T]`` as optional keywords.

    Raises:
      TypeError: trim is no integer.
      ValueError: trim below 0, or `num_tasks` not above 2 trim.

    >>> method = trimmed_mean(3)
    >>> grads = jnp.array([[1.0, 5.0], [2.0, 7.0], [300.0, 6.0]])
    >>> method.update(grads, method.init(jnp.zeros(2)))[0]
    Array([2., 6.], dtype=float32)
    """
    tasks, ends = check_count("num_tasks", num_tasks), check_count("trim", trim, minimum=0)
    if tasks <= 2 * ends:
        raise ValueError(f"trim {trim} wants {2 * ends + 1} tasks or more, num_tasks is {tasks}")

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        losses: Any = None,
        mask: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, Any]:
        del params, extra_args
        counted = counted_tasks(updates, tasks, losses, mask)
        number = jnp.sum(counted)
        dropped = jnp.minimum(ends, jnp.maximum(number - 1, 0) // 2)
        share = 1 / jnp.maximum(number - 2 * dropped, 1)

        def one(leaf: Any) -> jax.Array:
            leaf = jnp.asarray(leaf)
            wide = jnp.promote_types(leaf.dtype, jnp.float32)
            if not ends:
                shares = per_row(counted * share, leaf).astype(wide)
                mean = jnp.sum(shares * jnp.where(shares > 0, leaf, 0), axis=0)
            elif tasks <= _MOST_WIRES:
                mean = _by_sorting(leaf, counted, dropped, share.astype(wide))
            else:
                mean = _by_extremes(leaf.astype(wide), counted, dropped, share.astype(wide), ends)
            return mean.astype(leaf.dtype)

        return jax.tree.map(one, updates), state

    return aggregating.Aggregator(optax.init_empty_state, update)


def _by_sorting(
    rows: jax.Array, counted: jax.Array, dropped: jax.Array, share: jax.Array
) -> jax.Array:
    """Sorts ``[T, *param]`` along the tasks by a network of comparators, and adds the middle.

    It is one pass over the leaf, where the sort of XLA calls a comparator for each pair of
    numbers: a hundred times faster on a CPU for T = 8. Wires stay apart: stacking them would make
    XLA work out the whole network again for each.
    """
    # Rows that do not count go last.
    wires = list(jnp.where(per_row(counted, rows), rows, jnp.inf))
    for low, high in _comparators(len(wires)):
        smaller = jnp.minimum(wires[low], wires[high])
        wires[low], wires[high] = smaller, jnp.maximum(wires[low], wires[high])
    above = jnp.sum(counted) - dropped
    mean = jnp.zeros(rows.shape[1:], share.dtype)
    for place, wire in enumerate(wires):
        middle = (place >= dropped) & (place < above)
        mean = mean + jnp.where(middle, share * wire.astype(share.dtype), 0)
    return mean


def _by_extremes(
    rows: jax.Array, counted: jax.Array, dropped: jax.Array, share: jax.Array, most: int
) -> jax.Array:
    """Finds the `dropped`-th largest and smallest entry, and adds what lies between.

    It reads the rows one after the other, and keeps the `most` largest and smallest so far. For
    many tasks, whose network takes seconds to compile.
    """

    def keep(extremes, row_and_counted):
        largest, smallest = extremes
        row, there = row_and_counted
        shifted = jnp.concatenate([jnp.full_like(largest[:1], jnp.inf), largest[:-1]])
        largest = jnp.maximum(largest, jnp.minimum(shifted, jnp.where(there, row, -jnp.inf)))
        shifted = jnp.concatenate([jnp.full_like(smallest[:1], -jnp.inf), smallest[:-1]])
        smallest = jnp.minimum(smallest, jnp.maximum(shifted, jnp.where(there, row, jnp.inf)))
        return (largest, smallest), None

    def add(sums, row_and_counted):
        between, above, below = sums
        row, there = row_and_counted
        between = between + jnp.where(there & (row > low) & (row < high), share * row, 0)
        return (between, above + (there & (row >= high)), below + (there & (row <= low))), None

    start = jnp.full((most, *rows.shape[1:]), -jnp.inf, rows.dtype)
    (largest, smallest), _ = jax.lax.scan(keep, (start, -start), (rows, counted))
    last = jnp.maximum(dropped - 1, 0)
    high = jnp.where(dropped > 0, largest[last], jnp.inf)
    low = jnp.where(dropped > 0, smallest[last], -jnp.inf)
    zero = jnp.zeros(rows.shape[1:], rows.dtype)
    many = jnp.zeros(rows.shape[1:], jnp.int32)
    (between, above, below), _ = jax.lax.scan(add, (zero, many, many), (rows, counted))
    # Of entries that equal a bound, those beyond the number to be dropped stay.
    ends = jnp.where(dropped > 0, jnp.stack([high, low]), 0)
    stay = share * (jnp.stack([above, below]) - dropped)
    apart = between + jnp.sum(stay * ends, axis=0)
    return jnp.where(high == low, high, apart)


def _comparators(count: int) -> Iterator[tuple[int, int]]:
    """Batcher's odd-even merge sort of any number of wires (Knuth, vol. 3, 5.2.2, algorithm M)."""
    block = 1
    while block < count:
        step = block
        while step >= 1:
            for first in range(step % block, count - step, 2 * step):
                for low in range(first, min(first + step, count - step)):
                    if low // (2 * block) == (low + step) // (2 * block):
                        yield low, low + step
            step //= 2
        block *= 2
