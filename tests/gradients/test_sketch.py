"""Random projections: linear, unbiased, and as far off as they say."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients

sketched = jax.jit(gradients.sketch, static_argnums=(1, 2))


def by_numpy(rows, width, seed):
    """The sketch as its definition says: each coordinate is added to one number, with a sign."""

    def hashed(x):
        x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
        x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
        return x ^ (x >> 16)

    small = np.zeros((3, width))
    for index, leaf in enumerate(jax.tree.leaves(rows)):
        flat = np.reshape(leaf, (3, -1)).astype(np.float64)
        salt = hashed(np.array([(seed * 0x9E3779B9 + index) % 2**32], np.uint32))
        begin = random.Random(f"{seed} {index}").randrange(width)
        places = np.arange(begin, begin + flat.shape[1], dtype=np.uint32)
        signed = np.where(hashed(places ^ salt) >> 31, -flat, flat)
        for row, numbers in zip(small, signed, strict=True):
            row += np.bincount(places % width, numbers, width)
    return small


def dense(rng):
    rows = rng.normal(size=(3, 3000))
    rows[1] += 2 * rows[0]
    return {"a": rows[:, :2000].reshape(3, 50, 40), "b": rows[:, 2000:]}


def one_column(rng):
    """Entries a layer's width apart, as the gradient of one class of a softmax has them."""
    rows = np.zeros((3, 512, 64))
    rows[:, :, 5] = rng.normal(size=(3, 512))
    return {"a": rows}


def few_rows(rng):
    """An embedding of which a task reads few rows."""
    rows = np.zeros((3, 500, 32))
    rows[:, rng.integers(0, 500, 20)] = rng.normal(size=(3, 20, 32))
    return {"a": rows}


@pytest.mark.parametrize("make", [dense, one_column, few_rows])
def test_unbiased_and_within_the_stated_error(make, rng):
    rows = jax.tree.map(np.float32, make(rng))
    wide = np.concatenate(
        [np.reshape(x, (3, -1)) for x in jax.tree.leaves(rows)], axis=1, dtype=np.float64
    )
    exact = wide @ wide.T
    squares = np.diagonal(exact)
    stated = np.sqrt((squares[:, None] * squares + exact**2) / 127)
    seeds = 80
    sketches = [by_numpy(rows, 127, seed) for seed in range(seeds)]
    for seed in (0, 7):
        np.testing.assert_allclose(sketched(rows, 128, seed), sketches[seed], rtol=1e-5, atol=1e-4)
    found = np.stack([small @ small.T for small in sketches])
    # Four standard errors of the mean; a spread that is known to 8 %, and 25 % for "about".
    assert (np.abs(found.mean(0) - exact) < 4 * stated / np.sqrt(seeds)).all()
    spread = np.sqrt(np.mean((found - exact) ** 2, axis=0))
    assert (spread < 1.25 * stated).all()
    if make is dense:
        assert (spread > 0.75 * stated).all()


@pytest.mark.parametrize(("size", "width"), [(2, 2), (4, 3), (128, 127), (4096, 4093), (97, 97)])
def test_the_size_is_the_prime_below(size, width):
    assert sketched(np.ones((2, 5), np.float32), size, 0).shape == (2, width)


def test_linear_and_the_same_for_all_tasks(rng):
    a = rng.normal(size=(3, 7, 11)).astype(np.float32)
    rows = {"a": a, "b": np.ones((3, 5), np.float32)}
    small = np.asarray(sketched(rows, 31, 0))
    for i in range(3):
        one = jax.tree.map(lambda x, i=i: x[i : i + 1], rows)
        np.testing.assert_array_equal(sketched(one, 31, 0)[0], small[i])
    total = jax.tree.map(lambda x: np.tensordot(np.float32([[1, -2, 3]]), x, 1), rows)
    np.testing.assert_allclose(
        sketched(total, 31, 0)[0], np.float32([1, -2, 3]) @ small, rtol=1e-5, atol=1e-5
    )


def test_every_coordinate_counts_once(rng):
    """The sketch of a unit vector is one entry of 1 or -1, in places and signs that are spread."""
    unit = np.eye(400, dtype=np.float32).reshape(400, 20, 20)
    small = np.asarray(sketched({"a": unit}, 101, 0))
    assert ((small != 0).sum(1) == 1).all() and (np.abs(small).sum(1) == 1).all()
    assert np.bincount(np.abs(small).argmax(1), minlength=101).max() <= 4
    assert 0.4 < (small.sum(1) > 0).mean() < 0.6


def test_seeds_differ_and_repeat(rng):
    rows = jnp.asarray(rng.normal(size=(2, 1000)), jnp.float32)
    first, again = gradients.sketch(rows, 64, 1), sketched(rows, 64, 1)
    np.testing.assert_allclose(first, again, rtol=1e-5, atol=1e-5)
    assert not np.allclose(first, gradients.sketch(rows, 64, 2))
    assert np.isfinite(gradients.sketch(rows, 64, -(10**20))).all()


def test_dtypes(rng):
    assert gradients.sketch(jnp.ones((2, 9), jnp.bfloat16), 5).dtype == jnp.float32
    with jax.enable_x64(True):
        assert gradients.sketch(jnp.ones((2, 9), jnp.float64), 5).dtype == jnp.float64


@pytest.mark.parametrize("size", [1, 0, -3, 2.0, True, "8"])
def test_wrong_sizes(size):
    with pytest.raises(ValueError, match="size"):
        gradients.sketch(jnp.ones((2, 9)), size)
