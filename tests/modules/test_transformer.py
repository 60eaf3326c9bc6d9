import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules.attention_mask import attention_mask
from mtljax.modules.feed_forward import gelu
from mtljax.modules.positions import rotate
from mtljax.modules.transformer import TransformerEncoder
from mtljax.modules.transformer_layer import TransformerLayer
from tests.modules.conftest import by_rows

FEATURES, HEADS = 8, 2


def make(**kwargs):
    settings = {"layers": 2, "heads": HEADS, "feed_forward": 16} | kwargs
    return TransformerEncoder(FEATURES, **settings)


@pytest.fixture
def x(rng, segments):
    return rng.normal(size=(*segments.shape, FEATURES)).astype(np.float32)


@pytest.fixture
def params(x, segments, positions):
    return first_params(make(), x, segments, positions)


@functools.partial(jax.jit, static_argnums=0)
def first_params(model, *inputs):
    return nn.unbox(model.init(jax.random.key(0), *inputs, causal=True, train=False))["params"]


@functools.partial(jax.jit, static_argnums=0, static_argnames="causal")
def run(model, params, x, segments, positions, causal):
    return model.apply({"params": params}, x, segments, positions, causal=causal, train=False)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_equals_alone(params, x, segments, positions, apart, causal):
    unpacked, alone, counts = apart
    packed = run(make(), params, x, segments, positions, causal=causal)
    assert packed.shape == x.shape and packed.dtype == jnp.float32
    assert np.isfinite(packed).all()  # padding too
    expected = by_rows(len(x), functools.partial(run, make(), params, causal=causal))(
        unpacked(x), alone, counts
    )
    found = unpacked(np.asarray(packed))
    np.testing.assert_allclose(found[alone > 0], expected[alone > 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_only_the_causal_mask_hides_later_positions(params, x, segments, positions, causal):
    changed = x.copy()
    changed[2, 7] += 1.0
    before, after = (
        np.asarray(run(make(), params, y, segments, positions, causal=causal)[2])
        for y in (x, changed)
    )
    assert np.array_equal(before[:7], after[:7]) == causal
    assert not np.array_equal(before[8:], after[8:])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_mask(causal):
    segments = jnp.array([[1, 1, 2, 0]])
    seen = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], bool)
    if not causal:
        seen[0, 1] = True
    np.testing.assert_array_equal(attention_mask(segments, causal=causal), seen[None, None])


def test_attention_mask_of_a_prefix():
    segments = jnp.array([[1, 1, 1, 1, 2, 2, 0]])
    source = jnp.array([[1, 1, 0, 0, 1, 0, 0]], bool)
    seen = np.zeros((7, 7), bool)
    seen[:2, :2] = True  # the source, both ways
    seen[2, :3] = seen[3, :4] = True  # the answer, from left to right
    seen[4, 4] = seen[5, 4:6] = seen[6, 6] = True
    found = attention_mask(segments, causal=True, source=source)
    np.testing.assert_array_equal(found, seen[None, None])


@pytest.mark.parametrize("shift", [1, 37])
def test_rotated_products_depend_on_distance_alone(rng, shift):
    query, key = rng.normal(size=(2, 1, 6, 3, 8)).astype(np.float32)
    positions = np.array([[0, 1, 2, 5, 9, 20]])

    @jax.jit
    def products(offset):
        q, k = (rotate(jnp.asarray(v), positions + offset) for v in (query, key))
        return jnp.einsum("rshd,rthd->rhst", q, k)

    np.testing.assert_allclose(products(0), products(shift), atol=2e-5)
    np.testing.assert_array_equal(rotate(jnp.asarray(query), np.zeros((1, 6), int)), query)
    # As complex numbers: each pair turns by its own angle.
    turned = query[..., :4] + 1j * query[..., 4:]
    angles = positions[..., None] * 10_000.0 ** (-np.arange(4) / 4)
    turned = turned * np.exp(1j * angles)[:, :, None]
    expected = np.concatenate([turned.real, turned.imag], -1)
    np.testing.assert_allclose(rotate(jnp.asarray(query), positions), expected, atol=1e-5)


def layer_norm(x, params):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * params["scale"] + params["bias"]


@pytest.mark.parametrize("causal", [False, True])
def test_scanned_layers_equal_a_loop(params, x, segments, positions, causal):
    layer = TransformerLayer(FEATURES, HEADS, 16, 0.0, jnp.float32, None, False)
    mask = attention_mask(jnp.asarray(segments), causal=causal)

    @jax.jit
    def one(params, y):
        return layer.apply({"params": params}, y, mask, positions, None)[0]

    y = x
    for number in range(2):
        y = one(
            jax.tree.map(lambda leaf, number=number: np.asarray(leaf)[number], params["layers"]), y
        )
    expected = layer_norm(np.asarray(y), params["final_norm"])
    found = run(make(), params, x, segments, positions, causal=causal)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_layers_start_unlike(params):
    kernel = params["layers"]["qkv"]["kernel"]
    assert kernel.shape == (2, FEATURES, 3, HEADS, FEATURES // HEADS)
    assert not np.allclose(kernel[0], kernel[1])


@functools.partial(jax.jit, static_argnums=2)
@functools.partial(jax.value_and_grad, argnums=0)
def loss(params, inputs, changed):
    out = make(**dict(changed), dropout=0.5).apply(
        {"params": params},
        *inputs,
        causal=True,
        train=True,
        rngs={"dropout": jax.random.key(3)},
    )
    return jnp.sum(jnp.sin(out))


@pytest.mark.parametrize("changed", [{"remat": "full"}, {"remat": "dots", "unroll": 2}])
def test_how_it_is_computed_changes_nothing(params, x, segments, positions, changed):
    """Dropout draws the same again too."""
    inputs = x, segments, positions
    value, grads = loss(params, inputs, ())
    again, grads_again = loss(params, inputs, tuple(changed.items()))
    # A sum of terms that cancel, added up in another order.
    np.testing.assert_allclose(value, again, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), grads, grads_again
    )


@pytest.mark.parametrize("causal", [False, True])
def test_without_segments_a_row_is_a_text(params, x, positions, causal):
    whole = np.ones(positions.shape, np.int32)
    expected = run(make(), params, x, whole, positions, causal=causal)
    found = run(make(), params, x, None, positions, causal=causal)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (jnp.bfloat16, 2**-8)])
def test_gelu(dtype, tolerance):
    x = np.linspace(-9, 9, 1001).astype(dtype)
    wide = x.astype(np.float64)
    expected = wide / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (wide + 0.044715 * wide**3)))
    found = gelu(jnp.asarray(x))
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=tolerance, atol=2e-6)


def test_dropout_differs_between_layers(params, x, segments, positions):
    # Layers that add their last bias and nothing else: each adds 2 or 0, by its own mask. With a
    # shared mask the two would give 0 or 4, never 2.
    layers = jax.tree.map(np.zeros_like, params["layers"])
    layers["down"]["bias"] = np.ones_like(layers["down"]["bias"])

    @jax.jit
    def normed(x):
        return make(dropout=0.5).apply(
            {"params": {**params, "layers": layers}},
            x,
            segments,
            positions,
            causal=True,
            train=True,
            rngs={"dropout": jax.random.key(0)},
        )

    found = np.asarray(normed(np.zeros_like(x)))
    assert max(len(np.unique(row.round(3))) for row in found[:, 0]) == 3


def test_width_must_fit_the_heads():
    with pytest.raises(ValueError, match="features must be a multiple of 2"):
        TransformerEncoder(6, layers=1, heads=2, feed_forward=4).init(
            jax.random.key(0), jnp.ones((1, 2, 6)), jnp.ones((1, 2), jnp.int32),
            jnp.zeros((1, 2), jnp.int32), causal=True, train=False,
        )  # fmt: skip


def test_a_narrower_input_is_projected(segments, positions, rng):
    x = rng.normal(size=(*segments.shape, 5)).astype(np.float32)
    run = functools.partial(make().init_with_output, causal=False, train=False)
    out, variables = jax.eval_shape(run, jax.random.key(0), x, segments, positions)
    assert out.shape == (*segments.shape, FEATURES)
    assert nn.unbox(variables)["params"]["project"]["kernel"].shape == (5, FEATURES)
