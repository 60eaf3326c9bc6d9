import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import losses


def plain(features, table, bias, targets):
    logits = features @ table.T
    return losses.softmax(logits if bias is None else logits + bias, targets)


@pytest.fixture
def problem(rng):
    features = jnp.asarray(rng.normal(size=(23, 4)), jnp.float32)
    table = jnp.asarray(rng.normal(size=(7, 4)), jnp.float32)
    bias = jnp.asarray(rng.normal(size=7), jnp.float32)
    return features, table, bias, jnp.asarray(rng.integers(7, size=23))


@pytest.mark.parametrize(
    ("chunk", "jit", "with_bias"),
    [(1, True, True), (5, False, True), (5, True, False), (23, True, True), (1000, True, False)],
)
def test_values_and_gradients_equal_the_plain_product(problem, chunk, jit, with_bias):
    features, table, bias, targets = problem
    arguments = (features, table, bias if with_bias else None)
    scale = jnp.linspace(0.0, 2.0, 23)

    def chunked(*arguments):
        return scale @ losses.linear_cross_entropy(*arguments, targets, chunk=chunk)

    def reference(*arguments):
        return scale @ plain(*arguments, targets)

    which = (0, 1, 2) if with_bias else (0, 1)
    f = jax.value_and_grad(chunked, which)
    value, slopes = (jax.jit(f) if jit else f)(*arguments)
    expected, expected_slopes = jax.value_and_grad(reference, which)(*arguments)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for slope, wanted in zip(slopes, expected_slopes, strict=True):
        assert slope.dtype == wanted.dtype
        np.testing.assert_allclose(slope, wanted, rtol=1e-4, atol=1e-5)


def test_float64(problem):
    with jax.enable_x64(True):
        features, table, bias = (jnp.asarray(x, jnp.float64) for x in problem[:3])
        targets = problem[3]
        result = losses.linear_cross_entropy(features, table, bias, targets, chunk=6)
        np.testing.assert_allclose(result, plain(features, table, bias, targets), rtol=1e-13)
        slope = jax.grad(
            lambda t: losses.linear_cross_entropy(features, t, bias, targets, chunk=6).sum()
        )(table)
        wanted = jax.grad(lambda t: plain(features, t, bias, targets).sum())(table)
        np.testing.assert_allclose(slope, wanted, rtol=1e-11, atol=1e-13)


def test_low_precision_is_accumulated_in_float32(problem):
    features, table, bias, targets = problem
    low = features.astype(jnp.bfloat16), table.astype(jnp.bfloat16)
    wide = low[0].astype(jnp.float32), low[1].astype(jnp.float32)
    result = losses.linear_cross_entropy(*low, bias, targets, chunk=8)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, plain(*wide, bias, targets), rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda t: losses.linear_cross_entropy(low[0], t, bias, targets).sum())(low[1])
    wanted = jax.grad(lambda t: plain(wide[0], t, bias, targets).sum())(wide[1])
    assert slope.dtype == jnp.bfloat16
    np.testing.assert_allclose(slope.astype(jnp.float32), wanted, atol=0.05)


def test_target_out_of_range_is_nan_and_leaves_the_others_alone(problem):
    features, table, bias, targets = problem
    targets = targets.at[3].set(-1).at[20].set(7)

    def loss(features):
        values = losses.linear_cross_entropy(features, table, bias, targets, chunk=4)
        return losses.weighted_mean(values, (targets >= 0) & (targets < 7))

    value, slope = jax.value_and_grad(loss)(features)
    assert np.isfinite(value) and np.isfinite(slope).all()
    assert not slope[3].any() and not slope[20].any()


def test_logits_are_never_whole(problem):
    rows, classes, chunk = 64, 501, 8
    features, table = jnp.ones((rows, 4)), jnp.ones((classes, 4))

    def loss(features, table):
        index = jnp.zeros(rows, int)
        return losses.linear_cross_entropy(features, table, None, index, chunk=chunk).sum()

    text = jax.jit(jax.grad(loss, (0, 1))).lower(features, table).as_text()
    assert f"{chunk}x{classes}x" in text
    assert f"{rows}x{classes}x" not in text and f"{rows // chunk}x{chunk}x{classes}x" not in text


def test_no_rows_and_a_batch_of_problems(problem):
    features, table, bias, targets = problem
    assert losses.linear_cross_entropy(features[:0], table, bias, targets[:0]).shape == (0,)
    stacked = jax.vmap(losses.linear_cross_entropy, (0, None, None, 0))(
        jnp.stack([features, -features]), table, bias, jnp.stack([targets, targets])
    )
    np.testing.assert_allclose(stacked[1], plain(-features, table, bias, targets), rtol=1e-5)


@pytest.mark.parametrize("chunk", [0, -1])
def test_wrong_chunk_is_named(problem, chunk):
    with pytest.raises(ValueError, match="chunk"):
        losses.linear_cross_entropy(*problem, chunk=chunk)
