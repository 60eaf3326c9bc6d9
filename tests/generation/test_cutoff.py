import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax.generation.cutoff import keep_largest, order_keys

NUMBERS = st.floats(width=32, allow_nan=False)


@settings(max_examples=50)
@given(st.lists(NUMBERS, min_size=8, max_size=8))
def test_keys_are_in_the_order_of_the_numbers(values):
    x = np.array(values, np.float32)
    x = np.where(np.abs(x) < np.finfo(np.float32).tiny, 0, x)  # XLA flushes these
    keys = np.asarray(order_keys(x)).astype(np.int64)
    np.testing.assert_array_equal(keys[:, None] > keys, x[:, None] > x)


@jax.jit
def k_largest(x, k):
    def count(mask):
        return mask.sum(-1, keepdims=True)

    keys = order_keys(x)
    return keep_largest(keys, lambda mask: count(mask) >= k, lambda above, at: k - count(above))


@settings(max_examples=30)
@given(st.lists(st.sampled_from([-np.inf, -2.0, 0.0, 0.5, 3.0]), min_size=6, max_size=6),
       st.integers(1, 6))  # fmt: skip
def test_the_k_largest_are_those_of_a_stable_sort(values, k):
    x = np.array(values, np.float32)
    assert set(np.flatnonzero(k_largest(x, k))) == set(np.argsort(-x, kind="stable")[:k])
