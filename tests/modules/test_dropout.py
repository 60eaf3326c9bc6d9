import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules.dropout import LockedDropout, drop_tokens


def test_one_mask_a_row():
    x = jnp.ones((200, 7, 100))
    out = LockedDropout(0.3).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
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
    tokens = jnp.full((100, 400), 7)
    found = np.asarray(drop_tokens(tokens, rate, 1, jax.random.key(0)))
    assert found.dtype == tokens.dtype and set(np.unique(found)) <= {1, 7}
    exact = round(rate * 256) / 256
    assert abs((found == 1).mean() - exact) <= 5 * np.sqrt(exact * (1 - exact) / tokens.size)


def test_a_mask_for_each_text_of_a_row():
    x = jnp.ones((2, 6, 5000))
    texts = jnp.asarray([[1, 1, 2, 2, 3, 3], [1, 2, 2, 2, 2, 0]])
    out = LockedDropout(0.3).apply({}, x, texts, train=True, rngs={"dropout": jax.random.key(1)})
    np.testing.assert_array_equal(out[0, 0], out[0, 1])
    np.testing.assert_array_equal(out[1, 1], out[1, 4])
    kept = np.asarray(out) > 0
    # Masks of unlike texts are independent: both keep a feature with probability 0.49.
    for a, b in [((0, 0), (0, 2)), ((0, 2), (0, 4)), ((1, 0), (1, 1)), ((0, 0), (1, 0))]:
        assert abs((kept[a] & kept[b]).mean() - 0.49) < 0.03
    np.testing.assert_allclose(out[kept], 1 / 0.7, rtol=1e-6)
    np.testing.assert_array_equal(LockedDropout(0.3).apply({}, x, texts, train=False), x)
