import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules import pooling

COUNT = 5  # one more than any row has


def softmax(x):
    shares = np.exp(x - x.max())
    return shares / shares.sum()


ONE = {
    "mean": lambda h, s: h.mean(0),
    "root": lambda h, s: h.sum(0) / np.sqrt(len(h)),
    "max": lambda h, s: h.max(0),
    "last": lambda h, s: h[-1],
    "attention": lambda h, s: softmax(s) @ h,
}


def pools(hidden, scores, segments):
    """All of them, in one program."""
    members = pooling.segment_members(segments, COUNT)
    found = {
        name: getattr(pooling, f"{name}_pool")(hidden, members)
        for name in ONE.keys() - {"attention"}
    }
    return found | {"attention": pooling.attention_pool(hidden, scores, members)}


pools_compiled = jax.jit(pools)


@pytest.mark.parametrize("run", [pools, pools_compiled], ids=["eager", "jit"])
def test_each_segment_as_if_alone(run, rng, segments, spans):
    hidden = rng.normal(size=(*segments.shape, 3)).astype(np.float32) - 2  # the largest is negative
    scores = rng.normal(size=segments.shape).astype(np.float32)
    found = run(jnp.asarray(hidden), jnp.asarray(scores), jnp.asarray(segments))
    for name, pool in ONE.items():
        expected = np.zeros((len(segments), COUNT, 3))  # zero where there is none
        for row, span in spans:
            segment = segments[row, span.start] - 1
            expected[row, segment] = pool(hidden[row, span], scores[row, span])
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_gradients_are_finite_and_never_reach_padding(rng, segments):
    hidden = rng.normal(size=(*segments.shape, 3)).astype(np.float32)
    scores = rng.normal(size=segments.shape).astype(np.float32)

    def total(hidden, scores):
        found = pools(hidden, scores, segments)
        return sum(jnp.sum(pooled**2) for pooled in found.values())

    for gradient in jax.jit(jax.grad(total, (0, 1)))(hidden, scores):
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[segments == 0], 0)


def test_garbage_in_padding_is_ignored(rng, segments):
    hidden = rng.normal(size=(*segments.shape, 3)).astype(np.float32)
    scores = rng.normal(size=segments.shape).astype(np.float32)
    other_hidden = np.where(segments[..., None] == 0, 1e6, hidden).astype(np.float32)
    other_scores = np.where(segments == 0, 1e6, scores).astype(np.float32)
    before = pools_compiled(hidden, scores, segments)
    after = pools_compiled(other_hidden, other_scores, segments)
    jax.tree.map(np.testing.assert_array_equal, before, after)


@pytest.mark.parametrize("name", ["mean", "root"])
def test_long_texts_in_bfloat16(name):
    @jax.jit
    def run(hidden, segments):
        members = pooling.segment_members(segments, 1)
        return getattr(pooling, f"{name}_pool")(hidden, members)

    found = run(np.full((1, 500, 1), 0.5, jnp.bfloat16), np.ones((1, 500), np.int32))
    expected = 0.5 * (1 if name == "mean" else np.sqrt(500))
    np.testing.assert_allclose(np.asarray(found, np.float32).item(), expected, rtol=1e-6)


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_following(distance, rng, segments):
    x = rng.normal(size=(*segments.shape, 3)).astype(np.float32)
    run = jax.jit(pooling.following, static_argnums=2)
    found = np.asarray(run(jnp.asarray(x), jnp.asarray(segments), distance))
    for row, column in np.argwhere(segments > 0):
        there = column + distance
        inside = there < segments.shape[1] and segments[row, there] == segments[row, column]
        np.testing.assert_array_equal(found[row, column], x[row, there] if inside else 0)
