import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax.generation import Sampling, filter_logits, sample
from mtljax.generation.sampling import choose

LOGITS = np.log(np.array([0.05, 0.4, 0.1, 0.25, 0.2], np.float32))


def reference(logits, top_k, top_p, banned):
    """The kept classes, by a sort in float64 and a loop."""
    logits = logits.astype(np.float64).copy()
    logits[list(banned)] = -np.inf
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    order = [i for i in order if np.isfinite(logits[i])]
    if top_k:
        order = order[:top_k]
    shares = np.exp(logits[order] - logits[order[0]])
    shares /= shares.sum()
    kept, total = set(), 0.0
    for i, share in zip(order, shares, strict=True):
        if total >= top_p and kept and top_p < 1:
            break
        kept.add(i)
        total += share
    return kept


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 99}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.39}, {1}),
        ({"top_p": 0.41}, {1, 3}),
        ({"top_p": 1e-6}, {1}),
        ({"top_k": 2, "top_p": 0.6}, {1}),  # 0.4 of the 0.65 that are left
        ({"min_p": 0.4}, {1, 3, 4}),
        ({"min_p": 0.9, "banned": (1,)}, {3}),
        ({"banned": (1,)}, {0, 2, 3, 4}),
        ({"banned": (1,), "top_k": 1}, {3}),
        ({"banned": (1, 3), "top_p": 0.5}, {4}),  # 0.2 of the 0.35 that are left
    ],
)
@pytest.mark.parametrize("jitted", [False, True])
def test_what_is_kept(options, kept, jitted):
    numbers = {name: value for name, value in options.items() if name != "banned"}

    def run(logits, numbers):
        return filter_logits(logits, banned=options.get("banned", ()), **numbers)

    found = (jax.jit(run) if jitted else run)(LOGITS, numbers)
    assert set(np.flatnonzero(np.isfinite(found)).tolist()) == kept
    np.testing.assert_array_equal(np.asarray(found)[list(kept)], LOGITS[list(kept)])


def test_equal_logits_keep_exactly_k_and_the_lower_classes():
    found = filter_logits(jnp.zeros(6), top_k=4)
    assert np.isfinite(found).tolist() == [True] * 4 + [False] * 2


def test_leading_axes_are_independent():
    rows = np.random.default_rng(0).normal(size=(3, 4, 7)).astype(np.float32)
    whole = filter_logits(rows, top_k=3, top_p=0.8, banned=(2,))
    for index in np.ndindex(3, 4):
        one = filter_logits(rows[index], top_k=3, top_p=0.8, banned=(2,))
        np.testing.assert_array_equal(whole[index], one)


@settings(max_examples=30)
@given(
    st.integers(0, 2**31),
    st.integers(0, 9),
    st.sampled_from([0.05, 0.3, 0.9, 1.0]),
    st.sets(st.integers(0, 7), max_size=7),
)
def test_agrees_with_a_loop(seed, top_k, top_p, banned):
    logits = np.random.default_rng(seed).normal(size=8).astype(np.float32) * 3
    found = filter_logits(logits, top_k=top_k, top_p=top_p, banned=tuple(banned))
    assert set(np.flatnonzero(np.isfinite(found)).tolist()) == reference(
        logits, top_k, top_p, banned
    )


def test_draws_have_the_probabilities_of_the_filtered_softmax():
    keys = jax.random.split(jax.random.key(1), 20_000)
    draw = jax.jit(jax.vmap(lambda key: sample(key, LOGITS, temperature=0.5, top_k=3, banned=(2,))))
    shares = np.bincount(draw(keys), minlength=5) / len(keys)
    expected = np.exp(2 * LOGITS) * np.isin(np.arange(5), [1, 3, 4])
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.015)


def test_frequencies_of_rows_pass_a_chi_square_test():
    count, how = 20_000, Sampling(0.7, 5, top_p=0.9, min_p=0.25, repetition_penalty=1.4)
    logits = np.random.default_rng(5).normal(size=8).astype(np.float32)
    history = np.array([2, 4])
    rows = (np.broadcast_to(x, (count, *x.shape)) for x in (logits, history))
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(11), i))(np.arange(count))
    drawn = jax.jit(lambda *rows: choose(*rows, how, (7,)))(keys, *rows)
    expected = logits.astype(np.float64)
    expected[history] = np.where(expected > 0, expected / 1.4, expected * 1.4)[history]
    expected[7] = -np.inf
    expected = np.exp(expected / 0.7)
    expected[np.argsort(-expected)[5:]] = 0
    expected /= expected.sum()
    order = np.argsort(-expected)
    before = np.cumsum(expected[order]) - expected[order]
    expected[order[before >= 0.9]] = 0
    expected[expected < 0.25 * expected.max()] = 0
    counts = np.bincount(drawn, minlength=8)
    kept = expected > 0
    assert 2 <= kept.sum() < 5
    assert not counts[~kept].any()
    expected = count * expected[kept] / expected.sum()
    assert scipy.stats.chisquare(counts[kept], expected).pvalue > 0.01


@pytest.mark.parametrize("temperature", [0.0, 1e-45, 1e-30, 1e-3])
def test_temperature_towards_zero_is_greedy(temperature):
    best = sample(jax.random.key(0), 100 * LOGITS, temperature=temperature, banned=(1,))
    assert int(best) == 3


def test_one_program_for_all_settings():
    traces = []

    @jax.jit
    def draw(key, logits, temperature, top_k, top_p):
        traces.append(1)
        return sample(key, logits, temperature=temperature, top_k=top_k, top_p=top_p)

    for setting in ((0.0, 0, 1.0), (1.0, 3, 1.0), (0.7, 0, 0.5)):
        assert 0 <= int(draw(jax.random.key(0), LOGITS, *setting)) < 5
    assert len(traces) == 1


def test_lower_precision_is_read_as_float32():
    found = filter_logits(jnp.asarray(LOGITS, jnp.bfloat16), top_k=2)
    assert found.dtype == jnp.float32
    assert sample(jax.random.key(0), jnp.asarray(LOGITS, jnp.bfloat16)).dtype == jnp.int32
