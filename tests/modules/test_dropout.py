import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules.dropout import Dropout, LockedDropout, Masked, drop_tokens


def test_one_mask_a_row():
    x = np.ones((200, 7, 100), np.float32)
    run = jax.jit(functools.partial(LockedDropout(0.3).apply, {}, train=True))
    out = run(x, rngs={"dropout": jax.random.key(0)})
    mask = np.asarray(out)
    np.testing.assert_array_equal(mask, np.broadcast_to(mask[:, :1], mask.shape))
    np.testing.assert_allclose(np.unique(mask), [0, 1 / 0.7], rtol=1e-6)
    # 20,000 independent draws: the mean is 1 within five standard errors.
    assert abs(mask[:, 0].mean() - 1) < 5 * np.sqrt(0.3 / 0.7 / 20_000)
    assert not np.array_equal(mask[0], mask[1])


def test_off_without_training():
    x = jnp.arange(6.0).reshape(1, 2, 3)
    np.testing.assert_array_equal(LockedDropout(0.9).apply({}, x, train=False), x)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.998, 1.0])
def test_share_of_dropped_tokens(rate):
    tokens = np.full((100, 400), 7, np.int32)
    run = jax.jit(lambda tokens, key: drop_tokens(tokens, rate, 1, key))
    found = np.asarray(run(tokens, jax.random.key(0)))
    assert found.dtype == tokens.dtype and set(np.unique(found)) <= {1, 7}
    exact = round(rate * 256) / 256
    assert abs((found == 1).mean() - exact) <= 5 * np.sqrt(exact * (1 - exact) / tokens.size)


def test_a_mask_for_each_text_of_a_row():
    x = np.ones((2, 6, 5000), np.float32)
    texts = np.array([[1, 1, 2, 2, 3, 3], [1, 2, 2, 2, 2, 0]], np.int32)
    texts = Masked(np.arange(2), texts)
    run = jax.jit(functools.partial(LockedDropout(0.3).apply, {}, train=True))
    out = np.asarray(run(x, texts, rngs={"dropout": jax.random.key(1)}))
    np.testing.assert_array_equal(out[0, 0], out[0, 1])
    np.testing.assert_array_equal(out[1, 1], out[1, 4])
    kept = np.asarray(out) > 0
    # Masks of unlike texts are independent: both keep a feature with probability 0.49.
    for a, b in [((0, 0), (0, 2)), ((0, 2), (0, 4)), ((1, 0), (1, 1)), ((0, 0), (1, 0))]:
        assert abs((kept[a] & kept[b]).mean() - 0.49) < 0.03
    np.testing.assert_allclose(out[kept], 1 / 0.7, rtol=1e-6)
    np.testing.assert_array_equal(LockedDropout(0.3).apply({}, x, texts, train=False), x)


@pytest.mark.parametrize("with_texts", [False, True])
def test_a_row_draws_the_same_wherever_it_is(with_texts):
    """Its mask follows from its number, not from its place or its neighbours."""
    x, key = jnp.ones((5, 4, 30)), jax.random.key(2)
    texts = jnp.asarray([[1, 1, 2, 2]] * 5) if with_texts else None
    numbers = jnp.asarray([3, 70_000, 9, 3, 2**32 - 5], jnp.uint32)

    @jax.jit
    def drop(rows):
        masked = Masked(numbers[rows], None if texts is None else texts[rows])
        locked = LockedDropout(0.5).apply({}, x[rows], masked, train=True, rngs={"dropout": key})
        every = Dropout(0.5).apply({}, x[rows], masked.rows, train=True, rngs={"dropout": key})
        tokens = jnp.full((len(rows), 40), 7)
        tokens = drop_tokens(tokens, 0.5, 1, key, masked.rows)
        return locked, every, tokens

    whole, some = jax.device_get((drop(np.arange(5)), drop(np.array([4, 1]))))
    for of_all, of_some in zip(whole, some, strict=True):
        np.testing.assert_array_equal(of_some, of_all[[4, 1]])
        np.testing.assert_array_equal(of_all[0], of_all[3])
        assert len({row.tobytes() for row in of_all}) == 4


def test_every_element_has_a_mask_of_its_own():
    x = np.ones((20, 50, 20), np.float32)
    run = jax.jit(functools.partial(Dropout(0.3).apply, {}, train=True))
    out = run(x, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_allclose(np.unique(out), [0, 1 / 0.7], rtol=1e-6)
    kept = np.asarray(out) > 0
    assert abs(kept.mean() - 0.7) < 5 * np.sqrt(0.21 / x.size)
    assert abs((kept[:, 0] & kept[:, 1]).mean() - 0.49) < 5 * np.sqrt(0.25 / 400)
    np.testing.assert_array_equal(Dropout(0.3).apply({}, x, train=False), x)
