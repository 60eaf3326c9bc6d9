"""Loading: onto devices, in other precisions, and both ways between parameters and tensors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.pretrained import load
from mtljax.pretrained.load import open_source
from mtljax.pretrained.name_map import LAYERS
from tests.pretrained.test_families import FAMILIES, GOLDEN, distance, golden, model

ON_MESH = f"""
import jax, numpy as np
from mtljax.parallel import make_mesh
from mtljax.pretrained import load

mesh = make_mesh(1, 4, 2)
whole = load({str(GOLDEN / "llama")!r})
parts = load({str(GOLDEN / "llama")!r}, mesh=mesh, fsdp=("data",))
for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
    assert np.array_equal(a, b) and len(b.sharding.device_set) == 8
query = parts.params["transformer"]["layers"]["query"]["kernel"]
print(query.sharding.shard_shape(query.shape), query.shape)
with np.load({str(GOLDEN / "llama" / "golden.npz")!r}) as g:
    found = np.asarray(parts.hidden_states(g["tokens"], g["mask"]))
    print(np.abs(found - g["hidden"])[g["mask"]].max() / np.abs(g["hidden"]).max() < 3e-6)
    print(np.array_equal(parts.output, whole.output))
"""


def test_onto_a_mesh(on_eight_devices):
    lines = on_eight_devices(ON_MESH).splitlines()
    assert lines == ["(2, 8, 2, 8) (2, 32, 4, 8)", "True", "True"]


def test_in_half_precision():
    g = golden("bert")
    halves = load(GOLDEN / "bert", dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(halves.params)} == {jnp.dtype(jnp.bfloat16)}
    found = halves.hidden_states(g["tokens"], g["mask"])
    assert found.dtype == jnp.bfloat16
    assert distance(found.astype(jnp.float32), g["hidden"], g["mask"]) < 0.05


@functools.cache
def parameters(family):
    leaves = jax.tree_util.tree_leaves_with_path(model(family).params)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): np.asarray(x) for p, x in leaves}


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_back_to_tensors(family):
    source = open_source(GOLDEN / family)
    for entry in source.matched.entries:
        whole = parameters(family)[entry.path]
        layers = len(whole) if entry.path.startswith(LAYERS) else 1
        for layer in range(entry.first_layer, layers):
            parameter = whole[layer] if entry.stacked else whole
            tensors = entry.to_tensors(parameter)
            assert len(tensors) == len(entry.names)
            for name, tensor in zip(entry.names, tensors, strict=True):
                expected = source.checkpoint.read(source.matched.names[name.format(layer)])
                np.testing.assert_allclose(tensor, expected, atol=1e-6 if entry.offset else 0)


def test_what_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match="a text of 41 is longer than the 40 positions"):
        model("bert").hidden_states(np.full((1, 41), 8))
    with pytest.raises(ValueError, match="ids must be from 0 to 95"):
        model("bert").hidden_states([[96]])
    with pytest.raises(ValueError, match="no tokenizer"):
        model("llama").tokens(["a"])


def test_long_texts_keep_their_marks():
    alone, pair = "the lazy dog eats " * 9, ("fox", "the lazy dog eats " * 9)
    for texts, marks in (([alone], [4, 5]), ([pair], [4, 5, 5])):
        found = model("bert").tokens(texts, max_length=12)
        ids = found.tokens[0].tolist()
        assert len(ids) == 12 and [i for i in ids if i in (4, 5)] == marks
        assert (ids[0], ids[-1]) == (4, 5)
    pair = model("roberta").tokens([pair], max_length=12).tokens[0].tolist()
    assert len(pair) == 12 and pair.count(2) == 3  # </s> </s> between, and one at the end
