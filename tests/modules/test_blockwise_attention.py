"""Attention in blocks: equal to the plain one, without the scores of a whole row."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules.architecture import Architecture
from mtljax.modules.blockwise_attention import LONG, blockwise_attention
from mtljax.modules.decoder import DecoderHead
from mtljax.modules.heads import Features
from mtljax.modules.keys_values import keys_values
from mtljax.modules.packed_mask import PackedMask, packed_mask
from mtljax.modules.self_attention import attend_source
from mtljax.modules.transformer import TransformerEncoder
from mtljax.sharing import projected_attention

ROWS, LENGTH, HEADS, SIZE = 2, 7, 4, 8


def plain(query, key, value, mask):
    """By definition, in plain products; two queries share a key."""
    key, value = (jnp.repeat(x, HEADS // x.shape[2], axis=2) for x in (key, value))
    scores = jnp.einsum("rshd,rthd->rhst", query, key) * SIZE**-0.5
    scores = scores if mask is None else jnp.where(mask, scores, -1e30)
    return jnp.einsum("rhst,rthd->rshd", jax.nn.softmax(scores, axis=-1), value)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    key, value = (draw(ROWS, LENGTH, HEADS // 2, SIZE) for _ in range(2))
    return draw(ROWS, LENGTH, HEADS, SIZE), key, value


SEGMENTS = np.asarray([[1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 0, 0]])
SOURCE = np.asarray([[1, 1, 0, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0]], bool)
MASKS = ("none", "held", "packed", "causal", "prefix", "by row", "window", "source")


def masks(name):
    """A mask as data, and bool ``[R, 1, S, S]`` by definition."""
    s, near = jnp.asarray(SEGMENTS), np.abs(np.subtract.outer(range(LENGTH), range(LENGTH))) <= 1
    same = SEGMENTS[:, :, None] == SEGMENTS[:, None, :]
    causal = same & np.tri(LENGTH, dtype=bool)
    prefix = same & (np.tri(LENGTH, dtype=bool) | SOURCE[:, None])
    by_row, rows = np.where([[[True]], [[False]]], causal, same), jnp.array([True, False])
    window = dataclasses.replace(packed_mask(s, causal=False, window=1), local=jnp.array(True))
    mask, dense = {
        "none": (None, None),
        "held": (jnp.asarray(causal[:, None]), causal),
        "packed": (packed_mask(s, causal=False), same),
        "causal": (packed_mask(s, causal=True), causal),
        "prefix": (packed_mask(s, causal=True, source=jnp.asarray(SOURCE)), prefix),
        "by row": (packed_mask(s, causal=rows), by_row),
        "window": (window, same & near),
        "source": (PackedMask(s, jnp.where(SOURCE, s, -1)), same & SOURCE[:, None]),
    }[name]
    return mask, None if dense is None else dense[:, None]


def value_and_slopes(attention):
    """Compiled, of arrays and a whole mask; what sees nothing has no meaning, and no part in it."""

    def answers(query, key, value, dense):
        sees = dense.any(-1)[:, 0, :, None, None]
        out = jnp.where(sees, attention(query, key, value, dense), 0)
        return jnp.square(out).sum(), out

    return jax.jit(jax.value_and_grad(answers, argnums=(0, 1, 2), has_aux=True))


BY_DEFINITION = value_and_slopes(plain)


@pytest.mark.parametrize("name", MASKS)
def test_values_and_gradients_are_those_of_the_plain_one(arrays, name):
    mask, dense = masks(name)
    dense = np.ones((ROWS, 1, LENGTH, LENGTH), bool) if dense is None else dense

    # Three blocks of three positions, of which the last has two that are none.
    def blocks(query, key, value, _):
        return blockwise_attention(query, key, value, mask, block=3)

    found, expected = value_and_slopes(blocks)(*arrays, dense), BY_DEFINITION(*arrays, dense)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_mapped_over_tasks_it_is_each_alone(arrays):
    mask = masks("prefix")[0]
    tasks = [np.stack([x, 2 * x, -x]) for x in arrays]

    def slope(query, key, value):
        return jax.grad(lambda k: jnp.square(blockwise_attention(query, k, value, mask, 4)).sum())(
            key
        )

    together = jax.jit(jax.vmap(slope))(*tasks)
    one = jax.jit(slope)
    alone = [one(*(x[i] for x in tasks)) for i in range(3)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-5, atol=1e-5)


def test_gradients_of_many_blocks_in_bfloat16_are_as_good_as_the_plain_ones(arrays):
    narrow = [jnp.asarray(np.tile(x, (1, 20, 1, 1)), jnp.bfloat16) for x in arrays]
    wide = [x.astype(jnp.float32) for x in narrow]

    def slope(attention, query, key, value):
        return jax.grad(lambda v: attention(query, key, v, None).astype(jnp.float32).sum())(value)

    exact = slope(plain, *wide)
    blocks = slope(lambda *x: blockwise_attention(*x, block=1), *narrow).astype(jnp.float32)
    np.testing.assert_allclose(blocks, exact, rtol=2**-8, atol=0)


def square_arrays(jaxpr, size):
    """Shapes of arrays with two dimensions of `size`, in a traced program and inside it."""
    found = []
    for equation in jaxpr.eqns:
        found += [one.aval.shape for one in equation.outvars if one.aval.shape.count(size) > 1]
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: True):
            for part in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(part, "jaxpr", part)
                found += square_arrays(inner, size) if hasattr(inner, "eqns") else []
    return found


def encoder(**settings):
    """Of two layers, the first of which sees a window."""
    around = Architecture(window=2, window_pattern=("local", "global"))
    return TransformerEncoder(4, 2, 2, 4, architecture=around, **settings)


def slope_of_encoder(size, implementation):
    """A function of parameters and rows of `size` that are read as a prefix, and their shapes."""
    net = encoder(implementation=implementation)
    x, ids = (jax.ShapeDtypeStruct(s, t) for s, t in (((1, size, 4), "f4"), ((1, size), "i4")))

    def squares(params, x, segments):
        run = partial(net.apply, {"params": params}, causal=True, train=False)
        return jnp.square(run(x, segments, segments, source=segments == 2)).sum()

    init = partial(net.init, jax.random.key(0), causal=True, train=False)
    params = nn.unbox(jax.eval_shape(init, x, ids, ids))["params"]
    return jax.grad(squares), (params, x, ids)


@pytest.mark.parametrize(
    ("size", "implementation", "expected"),
    [(LONG, None, False), (LONG - 1, None, True), (300, "blocks", False), (300, "xla", True)],
)
def test_no_pairs_of_positions_of_a_row_are_held(size, implementation, expected):
    function, shapes = slope_of_encoder(size, implementation)
    traced = jax.make_jaxpr(function)(*shapes)
    assert bool(square_arrays(traced.jaxpr, size)) == expected


def test_no_pairs_of_positions_are_in_the_compiled_program():
    function, shapes = slope_of_encoder(300, "blocks")
    text = str(jax.jit(function).lower(*shapes).compile().as_text())
    assert "300,300" not in text
    assert "256,300" in text  # of a block there are


def test_a_decoder_holds_no_pairs_of_its_answer_and_none_with_its_source():
    head = DecoderHead(3, 4, layers=1, heads=1, feed_forward=4)
    x, ids = (jax.ShapeDtypeStruct(s, t) for s, t in (((1, LONG, 4), "f4"), ((1, LONG), "i4")))
    table = jax.ShapeDtypeStruct((5, 4), "f4")

    def readout(x, segments, table):
        features = Features(x, x, table, segments, segments == 2)
        return head.init_with_output(jax.random.key(0), features, jnp.arange(3), train=False)[0]

    traced = jax.make_jaxpr(readout)(x, ids, table)
    assert not square_arrays(traced.jaxpr, LONG)


def test_an_encoder_in_blocks_is_the_one_that_holds_masks(rng):
    x = rng.normal(size=(2, LENGTH, 4)).astype(np.float32)
    args = x, SEGMENTS, np.broadcast_to(np.arange(LENGTH), SEGMENTS.shape)
    options = {"causal": jnp.array([True, False]), "train": False, "source": jnp.asarray(SOURCE)}
    params = nn.unbox(jax.jit(partial(encoder().init, **options))(jax.random.key(0), *args))
    found, expected = (
        jax.jit(partial(encoder(implementation=way).apply, **options))(params, *args)
        for way in ("blocks", "xla")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_source_is_read_in_blocks_as_at_once(arrays):
    query, key, value = arrays
    mask, dense = masks("source")
    assert dense is not None

    @jax.jit
    def both(query, key, value):
        cache = keys_values(key, value)
        return attend_source(query, cache, mask), attend_source(query, cache, jnp.asarray(dense))

    sees = dense.any(-1)[:, 0]  # others have no meaning
    found, expected = (np.asarray(out)[sees] for out in both(query, key, value))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_projected_attention_reads_a_mask_that_is_not_held(rng):
    sizes = (ROWS, LENGTH, 4), (4, 6), (6, 3, 2, 3), (6, 4)
    x, *parts = (rng.normal(size=size).astype(np.float32) for size in sizes)
    mask, dense = masks("prefix")

    @jax.jit
    def both(x):
        plain = projected_attention(x, *parts, jnp.asarray(dense))
        return projected_attention(x, *parts, mask, blockwise_attention), plain

    np.testing.assert_allclose(*both(x), rtol=1e-5, atol=1e-5)
