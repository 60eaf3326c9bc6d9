"""Attention in blocks: equal to the plain one, without the scores of a whole row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules.attention_mask import attention_mask, window_mask
from mtljax.modules.blockwise_attention import LONG, blockwise_attention
from mtljax.modules.self_attention import QueriesKeysValues, attend_row

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


def masks():
    segments = np.asarray([[1, 1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 0, 0]])
    source = segments == 2
    packed = attention_mask(segments, causal=False)
    return {
        "none": None,
        "packed": packed,
        "causal": attention_mask(segments, causal=True),
        "prefix": attention_mask(segments, causal=True, source=source),
        "window": packed & window_mask(LENGTH, 1),
    }


@pytest.mark.parametrize("name", list(masks()))
def test_values_and_gradients_are_those_of_the_plain_one(arrays, name):
    # Three blocks of three positions, of which the last has two that are none.
    mask = masks()[name]

    def answers(attention, *x):
        out = attention(*x, mask)
        return jnp.square(out).sum(), out

    def blocks(query, key, value, mask):
        return blockwise_attention(query, key, value, mask, block=3)

    def of(attention):
        run = jax.value_and_grad(lambda *x: answers(attention, *x), argnums=(0, 1, 2), has_aux=True)
        return jax.jit(run)(*arrays)

    for found, expected in zip(
        jax.tree.leaves(of(blocks)), jax.tree.leaves(of(plain)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_mapped_over_tasks_it_is_each_alone(arrays):
    mask = masks()["causal"]
    tasks = [jnp.stack([x, 2 * x, -x]) for x in arrays]

    def slope(query, key, value):
        return jax.grad(lambda k: jnp.square(blockwise_attention(query, k, value, mask, 4)).sum())(
            key
        )

    together = jax.jit(jax.vmap(slope))(*tasks)
    alone = [slope(*(x[i] for x in tasks)) for i in range(3)]
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
    """Shapes of float arrays with two dimensions of `size`, in a traced program and inside it."""
    found = []
    for equation in jaxpr.eqns:
        found += [
            one.aval.shape
            for one in equation.outvars
            if one.aval.shape.count(size) > 1 and jnp.issubdtype(one.aval.dtype, jnp.floating)
        ]
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: True):
            for part in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(part, "jaxpr", part)
                found += square_arrays(inner, size) if hasattr(inner, "eqns") else []
    return found


@pytest.mark.parametrize(
    ("size", "implementation", "expected"),
    [(LONG, None, False), (LONG - 1, None, True), (300, "blocks", False)],
)
def test_scores_of_a_whole_row_are_not_held(size, implementation, expected):
    shape = jax.ShapeDtypeStruct((1, size, HEADS, SIZE), jnp.float32)
    mask = jax.ShapeDtypeStruct((1, 1, size, size), jnp.bool_)

    def squares(query, key, value, mask):
        qkv = QueriesKeysValues(query, key, value)
        return jnp.square(attend_row(qkv, mask, implementation)).sum()

    traced = jax.make_jaxpr(jax.grad(squares, argnums=(0, 1, 2)))(shape, shape, shape, mask)
    assert bool(square_arrays(traced.jaxpr, size)) == expected
