"""The adversary of a shared encoder and the overlap with private ones, text by text in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.sharing import adversary_loss, overlap, reverse_gradient

SEGMENTS = np.array([[1, 1, 1, 2, 2, 0], [1, 2, 3, 3, 3, 3], [0, 0, 0, 0, 0, 0]])


def by_row(of_text):
    """The mean over the texts of each row."""
    rows = [[of_text(r, np.flatnonzero(row == n)) for n in range(1, row.max() + 1)]
            for r, row in enumerate(SEGMENTS)]  # fmt: skip
    return [np.mean(values) if values else 0.0 for values in rows]


def adversary_by_hand(logits, task):
    def of_text(row, at):
        mean = logits[row, at].mean(0)
        return np.log(np.exp(mean).sum()) - mean[task]

    return by_row(of_text)


def overlap_by_hand(shared, private):
    def of_text(row, at):
        return np.sum((shared[row, at].T @ private[row, at] / len(at)) ** 2)

    return by_row(of_text)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_of_rows(dtype):
    rng = np.random.default_rng(0)
    shared, private, logits = (rng.normal(size=(3, 6, d)).astype(dtype) for d in (4, 5, 3))

    def run(shared, private, logits):
        return adversary_loss(logits, SEGMENTS, 1), overlap(shared, private, SEGMENTS)

    with jax.enable_x64(dtype == np.float64):
        adversary, repeated = jax.jit(run)(shared, private, logits)
        assert adversary.dtype == repeated.dtype == dtype
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(adversary, adversary_by_hand(logits, 1), rtol)
    np.testing.assert_allclose(repeated, overlap_by_hand(shared, private), rtol)


def test_the_encoder_is_trained_against_the_classifier():
    rng = np.random.default_rng(1)
    features, kernel = rng.normal(size=(3, 6, 4)), rng.normal(size=(4, 3))

    def loss(features, kernel, reverse):
        read = reverse_gradient(features) if reverse else features
        return jnp.sum(adversary_loss(read @ kernel, SEGMENTS, 2))

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=2)
    (against, own), (plain, same) = (
        gradient(features, kernel, True),
        gradient(features, kernel, False),
    )
    np.testing.assert_array_equal(own, same)
    np.testing.assert_array_equal(against, -np.asarray(plain))
    assert np.abs(np.asarray(plain)[:2]).max() > 0 and not np.any(np.asarray(plain)[2])
