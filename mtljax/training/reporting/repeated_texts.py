"""Texts of one split that another has too, which are learned by heart before they are measured."""

from collections.abc import Mapping

import numpy as np

from mtljax.data.encoding.examples import Examples

_PORTION = 1 << 22  # positions of a split that are looked at


def repeated_texts(splits: Mapping[str, Examples]) -> dict[str, float]:
    """By split but train, the share of its texts that train has too, as far as a row holds them.

    Args:
      splits: the examples of an input group by split; of large ones the first few million positions
        are compared.

    Returns:
      Shares from 0 to 1, of splits that have texts.
    """
    others = {name: examples for name, examples in splits.items() if name != "train"}
    if not others:
        return {}
    learned = _hashes(splits["train"])
    return {
        name: float(np.isin(_hashes(examples), learned).mean())
        for name, examples in others.items()
        if len(examples)
    }


def _hashes(examples: Examples) -> np.ndarray:
    """uint64 `[texts]`, equal for equal texts and hardly ever for others."""
    count = max(1, int(np.searchsorted(examples.starts[1:], _PORTION, side="right")))
    starts = examples.starts[: count + 1]
    lengths = np.diff(starts)
    # A sum over positions, each of which is mixed with where it is in its text.
    mixed = (np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)).astype(np.uint64)
    for column in (examples.tokens, *examples.affixes.T):
        mixed = _mix(mixed + column[: starts[-1]].astype(np.uint64))
    sums = np.concatenate([[np.uint64(0)], np.cumsum(mixed, dtype=np.uint64)])
    return sums[starts[1:]] - sums[starts[:-1]]


def _mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014), a permutation of uint64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
