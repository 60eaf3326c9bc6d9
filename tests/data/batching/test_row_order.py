import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.batching import row_order
from mtljax.data.batching.row_order import RowOrder, plan_rows
from mtljax.data.encoding.examples import Examples
from mtljax.data.encoding.packing import pack, reshuffle


def of_lengths(lengths):
    lengths = np.asarray(lengths, np.int64)
    return Examples(
        tokens=np.zeros(lengths.sum(), np.int32),
        affixes=np.zeros((lengths.sum(), 0), np.int32),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        rows=np.arange(len(lengths), dtype=np.int32),
        targets={},
        weights={},
    )


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=60),
    block=st.integers(1, 70),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**34),
)
def test_an_epoch_has_each_example_once(lengths, block, epochs, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_order, "BLOCK", block)
        examples = of_lengths(lengths)
        plan = plan_rows(examples, 12)
        order = RowOrder(examples, plan, 12, (seed,))
        for epoch in range(epochs):
            slots, counts = order.rows(epoch * plan.num_rows, (epoch + 1) * plan.num_rows)
            assert sorted(slots) == list(range(len(lengths)))
            assert len(counts) == plan.num_rows and counts.max() <= plan.max_segments
            ends = np.cumsum(counts)
            filled = np.add.reduceat(examples.lengths[slots], ends - counts)
            assert filled.max() <= 12


@given(st.integers(0, 100), st.integers(1, 40), st.integers(1, 40))
def test_rows_do_not_depend_on_how_they_are_asked_for(first, one, two):
    examples = of_lengths(np.random.default_rng(0).integers(1, 9, size=50))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_order, "BLOCK", 16)
        plan = plan_rows(examples, 12)
        together = RowOrder(examples, plan, 12, (1, 2)).rows(first, first + one + two)
        apart = RowOrder(examples, plan, 12, (1, 2))
        last = apart.rows(first + one, first + one + two)
        parts = apart.rows(first, first + one)
    for whole, a, b in zip(together, parts, last, strict=True):
        np.testing.assert_array_equal(whole, np.concatenate([a, b]))


def test_blocks_are_samples_of_the_whole():
    # A set that is sorted by something: each block has of everything.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_order, "BLOCK", 25)
        examples = of_lengths(np.full(100, 12))
        order = RowOrder(examples, plan_rows(examples, 12), 12, (0,))
        for block in range(4):
            slots, _ = order.rows(25 * block, 25 * (block + 1))
            np.testing.assert_array_equal(np.bincount(slots // 20), 5)


def test_a_set_of_one_block_is_packed_and_shuffled_as_a_whole():
    lengths = np.random.default_rng(0).integers(1, 9, size=57)
    examples = of_lengths(lengths)
    plan = plan_rows(examples, 12)
    packing = pack(lengths, 12, plan.max_segments)
    assert plan.num_rows == packing.num_rows
    expected = reshuffle(packing, lengths, np.random.default_rng([3, 7, 1, 0]))
    slots, counts = RowOrder(examples, plan, 12, (3, 7)).rows(plan.num_rows, 2 * plan.num_rows)
    np.testing.assert_array_equal(slots, expected.slots)
    np.testing.assert_array_equal(counts, np.diff(expected.rows))
