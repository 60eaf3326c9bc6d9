import jax
import numpy as np
import pytest

ROWS = [[5, 3, 4], [1, 7], [12], [2, 2, 2, 2]]
SIZE = 12


def drawn(init):
    """All parameters that `init` would make, from NumPy: to compile it takes long."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(0, 0.4, x.shape).astype(x.dtype), jax.eval_shape(init))


def by_rows(count, run):
    """`run` of arrays `count` rows at a time: a program that is compiled for as many serves."""

    def whole(*arrays):
        rows = len(arrays[0])
        padded = [np.pad(x, [(0, -rows % count)] + [(0, 0)] * (x.ndim - 1)) for x in arrays]
        parts = [run(*(x[i : i + count] for x in padded)) for i in range(0, rows, count)]
        return np.concatenate(parts)[:rows]

    return whole


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def segments():
    """int32 [4, 12]: rows of several segments, of one, full and not."""
    array = np.zeros((len(ROWS), SIZE), np.int32)
    for row, lengths in enumerate(ROWS):
        array[row, : sum(lengths)] = np.repeat(np.arange(len(lengths)) + 1, lengths)
    return array


@pytest.fixture
def positions(segments):
    array = np.zeros_like(segments)
    for row, column in np.argwhere(segments > 0):
        array[row, column] = (segments[row, :column] == segments[row, column]).sum()
    return array


@pytest.fixture
def spans(segments):
    """(row, slice) of every segment."""
    found = []
    for row, lengths in enumerate(ROWS):
        ends = np.cumsum(lengths)
        found += [(row, slice(end - n, end)) for end, n in zip(ends, lengths, strict=True)]
    return found


@pytest.fixture
def apart(segments, spans):
    """From packed rows to one segment a row, padded; and the segment ids and positions of that."""

    def unpacked(x):
        alone = np.zeros((len(spans), SIZE, *x.shape[2:]), x.dtype)
        for number, (row, span) in enumerate(spans):
            alone[number, : span.stop - span.start] = x[row, span]
        return alone

    real = unpacked((segments > 0).astype(np.int32))
    return unpacked, real, np.where(real, np.arange(SIZE), 0).astype(np.int32)
