"""Input groups made alike: rows and texts of padding, so that the step traces several as one."""

import functools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

MORE_ROWS = 0.15
"""Rows of padding that groups of one kind are given at most, as a share of their rows."""


class Size(NamedTuple):
    """What may differ between groups that are made alike.

    Attributes:
      rows: of the batch, R.
      texts: that a row holds at most, N; 0 where no array has an axis of texts.
    """

    rows: int
    texts: int


def alike_sizes(
    kinds: Mapping[str, Hashable], sizes: Mapping[str, Size], more_rows: float = MORE_ROWS
) -> dict[str, Size]:
    """The sizes that groups are padded to, so that few sizes are left.

    Groups of one kind are divided into as few sets as the limit allows, of these with the fewest
    rows of padding; all of a set get the most rows and texts of any of them.

    Args:
      kinds: by group, what groups of one kind have in common; None for one that is left as it is.
      sizes: by group, its size.
      more_rows: rows of padding at most, as a share of the rows of a kind.

    Returns:
      By group, its size with the padding.

    >>> sizes = {"a": Size(10, 2), "b": Size(9, 3), "c": Size(1, 9)}
    >>> padded = alike_sizes(dict.fromkeys(sizes, "kind"), sizes)
    >>> padded["b"], padded["c"]
    (Size(rows=10, texts=3), Size(rows=1, texts=9))
    """
    by_kind: dict[Hashable, list[str]] = {}
    for name, kind in kinds.items():
        if kind is not None:
            by_kind.setdefault(kind, []).append(name)
    padded = dict(sizes)
    for names in by_kind.values():
        rows = padded_rows([sizes[name].rows for name in names], more_rows)
        texts: dict[int, int] = {}
        for name, count in zip(names, rows, strict=True):
            texts[count] = max(texts.get(count, 0), sizes[name].texts)
        padded |= {n: Size(count, texts[count]) for n, count in zip(names, rows, strict=True)}
    return padded


def padded_rows(rows: Sequence[int], more_rows: float) -> list[int]:
    """For each of several numbers, that or a larger one of them; few are left.

    Args:
      rows: the numbers, at least one, from 1.
      more_rows: what is added at most, as a share of their sum.

    >>> padded_rows([4, 10, 10, 9, 4], 0.08)
    [4, 10, 10, 10, 4]
    """
    distinct, counts = np.unique(rows, return_counts=True)
    size, limit = len(distinct), more_rows * sum(rows)

    @functools.cache
    def added(begin: int, end: int) -> int:
        """What one set of these numbers costs."""
        return int(np.sum(counts[begin:end] * (distinct[end - 1] - distinct[begin:end])))

    # `best[i]` is the least padding of the first i numbers in as many sets as there were rounds,
    # `starts[-1][i]` where the last of these sets begins.
    best, starts = [0 if i == 0 else np.inf for i in range(size + 1)], []
    while best[size] > limit:
        options = [
            [best[begin] + added(begin, end) for begin in range(end)] for end in range(1, size + 1)
        ]
        starts.append([0, *(int(np.argmin(option)) for option in options)])
        best = [np.inf, *(min(option) for option in options)]
    largest: dict[int, int] = {}
    end = size
    for begins in reversed(starts):
        begin = begins[end]
        largest |= {int(n): int(distinct[end - 1]) for n in distinct[begin:end]}
        end = begin
    return [largest[count] for count in rows]


def pad_to(tree: Any, shape: Sequence[int]) -> Any:
    """Arrays with zeros at the end of their first axes, which get these lengths."""

    def padded(leaf: jax.Array) -> jax.Array:
        extra = [(0, new - old) for new, old in zip(shape, leaf.shape, strict=False)]
        extra += [(0, 0)] * (leaf.ndim - len(extra))
        return jnp.pad(leaf, extra) if any(after for _, after in extra) else leaf

    return jax.tree.map(padded, tree)
