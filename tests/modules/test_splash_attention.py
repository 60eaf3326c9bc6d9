"""The splash kernel, interpreted and mapped over tasks, is plain attention."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules.packed_mask import packed_mask, seen_by
from mtljax.modules.splash_attention import splash_attention

TASKS, ROWS, LENGTH, HEADS, SIZE, WINDOW = 2, 2, 140, 2, 4, 9
"""The kernel has blocks of 128 positions: two of them, the last of which is padded."""


def rows():
    """Segments and sources: two texts and padding; one text that ends in the last block."""
    segments = np.zeros((ROWS, LENGTH), np.int32)
    segments[0, :60], segments[0, 60:131], segments[1, :] = 1, 2, 1
    source = np.zeros((ROWS, LENGTH), bool)
    source[0, :20] = source[0, 60:100] = source[1, :135] = True
    return jnp.asarray(segments), jnp.asarray(source)


def masks(name):
    segments, source = rows()
    if name == "none":
        return None
    window = WINDOW if name in ("causal", "window", "prefix in a window") else 0
    causal = {
        "packed": False,
        "window": False,
        "by row": jnp.array([True, False]),
    }.get(name, True)
    source = source if name in ("prefix", "by row", "prefix in a window") else None
    mask = packed_mask(segments, causal=causal, source=source, window=window)
    # A layer that sees whole texts beside others that do not.
    local = jnp.array(name != "causal")
    return dataclasses.replace(mask, local=local) if window else mask


def plain(query, key, value, seen):
    """By definition, in plain products."""
    key, value = (jnp.repeat(x, HEADS // x.shape[2], axis=2) for x in (key, value))
    scores = jnp.einsum("rshd,rthd->rhst", query, key) * SIZE**-0.5
    scores = jnp.where(seen, scores, -1e30)
    return jnp.einsum("rhst,rthd->rshd", jax.nn.softmax(scores, axis=-1), value)


def value_and_slopes(attention):
    """Compiled, for tasks whose arrays are along the first axis, and one mask."""

    def one(query, key, value, out, seen):
        found, back = jax.vjp(lambda *x: attention(*x, seen), query, key, value)
        return found, back(out)

    return jax.jit(jax.vmap(one, in_axes=(0, 0, 0, 0, None)))


BY_DEFINITION = value_and_slopes(plain)


@pytest.mark.parametrize(
    "name", ["none", "packed", "causal", "prefix", "by row", "window", "prefix in a window"]
)
def test_values_and_gradients_are_those_of_plain_attention(name, rng):
    mask = masks(name)
    seen = np.ones((1, 1, LENGTH, LENGTH), bool) if mask is None else np.asarray(seen_by(mask))
    seen = np.broadcast_to(seen, (ROWS, 1, LENGTH, LENGTH))
    shapes = [(TASKS, ROWS, LENGTH, heads, SIZE) for heads in (HEADS, 1, 1, HEADS)]
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    def splash(query, key, value, _):
        return splash_attention(query, key, value, mask, interpret=True)

    found, expected = value_and_slopes(splash)(*arrays, seen), BY_DEFINITION(*arrays, seen)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_rows_and_heads_may_be_split_among_devices(on_eight_devices):
    printed = on_eight_devices("""
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from mtljax.modules.packed_mask import packed_mask
from mtljax.modules.splash_attention import splash_attention

mesh = jax.make_mesh((2, 2, 2), ("task", "data", "model"), (AxisType.Auto,) * 3)
draw = lambda heads: np.random.default_rng(heads).standard_normal((4, 128, heads, 4), "f4")
segments = np.arange(4)[:, None] * 30 < np.arange(128)

@jax.jit
def attend(query, key, value, segments):
    mask = packed_mask(segments.astype(int), causal=True)
    rows = NamedSharding(mesh, P(("task", "data")))
    return [splash_attention(query, key, value, mask, split, interpret=True)
            for split in (rows, None)]

split, whole = attend(draw(4), draw(2), draw(2), segments)
print(split.sharding.shard_shape(split.shape), np.abs(split - whole).max() < 1e-6)
""")
    assert printed.strip() == "(1, 128, 2, 4) True"


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="the extra mtljax[tpu] (libtpu) is not installed",
)
def test_a_tpu_compiles_it_without_pairs_of_positions(on_eight_devices):
    printed = on_eight_devices("""
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from mtljax.modules.packed_mask import packed_mask
from mtljax.modules.splash_attention import splash_attention
from mtljax.planning import read_topology

rows = NamedSharding(Mesh(np.array(read_topology("v5e:2x2")[1]), ("data",)), P("data"))

def squares(query, key, value, segments):
    mask = packed_mask(segments, causal=True, source=segments == 2)
    return jnp.square(splash_attention(query, key, value, mask, rows)).sum()

of = lambda *shape, dtype="bfloat16": jax.ShapeDtypeStruct(shape, dtype, sharding=rows)
arrays = of(4, 2048, 2, 64), of(4, 2048, 1, 64), of(4, 2048, 1, 64), of(4, 2048, dtype="int32")
text = jax.jit(jax.grad(squares, (0, 1, 2))).lower(*arrays).compile().as_text()
print("2048,2048" in text, "splash_mha_fwd" in text)
""")
    assert printed.strip() == "False True"
