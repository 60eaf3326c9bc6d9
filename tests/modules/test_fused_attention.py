"""Fused attention: equal to the plain one, however it is mapped and differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules.attention_mask import attention_mask
from mtljax.modules.fused_attention import fused_attention

TASKS, ROWS, LENGTH, HEADS, SIZE = 3, 2, 5, 2, 4


def plain(query, key, value, mask):
    """By definition, in plain products."""
    scores = jnp.einsum("rshd,rthd->rhst", query, key) * SIZE**-0.5
    shares = jax.nn.softmax(jnp.where(mask, scores, -1e30), axis=-1)
    return jnp.einsum("rhst,rthd->rshd", shares, value)


def fused(query, key, value, mask):
    return fused_attention(query, key, value, mask, "xla")


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    shape = (TASKS, ROWS, LENGTH, HEADS, SIZE)
    parts = [rng.standard_normal(shape).astype(np.float32) for _ in range(3)]
    segments = np.sort(rng.integers(1, 3, (TASKS, ROWS, LENGTH)))
    mask = np.stack([np.asarray(attention_mask(s, causal=True)) for s in segments])
    return *parts, mask


def slopes(attention):
    """The gradients of a task's squared answers."""
    return jax.grad(lambda *x: jnp.square(attention(*x)).sum(), argnums=(0, 1, 2))


def over_all(attention):
    """The gradients of the squared answers of all tasks, mapped inside."""
    mapped = jax.vmap(attention)
    return jax.grad(lambda *x: jnp.square(mapped(*x)).sum(), argnums=(0, 1, 2))


@pytest.mark.parametrize(
    ("ways", "axes"),
    [
        pytest.param(lambda f: f, None, id="one task"),
        pytest.param(slopes, None, id="gradient"),
        pytest.param(lambda f: jax.vmap(slopes(f)), 0, id="mapped gradient"),
        pytest.param(over_all, 0, id="gradient of the mapped"),
        pytest.param(
            lambda f: jax.vmap(slopes(f), in_axes=(0, 0, 0, None)), "mask", id="one mask for all"
        ),
        pytest.param(
            lambda f: jax.vmap(jax.vmap(f, in_axes=1, out_axes=1)), "rows", id="mapped twice"
        ),
    ],
)
def test_equals_the_plain_one(arrays, ways, axes):
    query, key, value, mask = arrays
    if axes is None:
        query, key, value, mask = query[0], key[0], value[0], mask[0]
    elif axes == "mask":
        mask = mask[0]
    elif axes == "rows":
        query, key, value, mask = (x[:, :, None] for x in (query, key, value, mask))
    found, expected = (
        jax.jit(ways(attention))(query, key, value, mask) for attention in (fused, plain)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), found, expected
    )
