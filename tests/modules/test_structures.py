"""Structures of sharing in an encoder: where they begin, what they compute, what they hold."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.kinds import KINDS
from mtljax.modules import (
    EncoderConfig,
    HeadsConfig,
    HeadSpec,
    SharingConfig,
    build,
    encode,
    init,
    kv_cache_decoding,
    logical_axes,
    shared_and_private,
)
from mtljax.modules.attention_mask import attention_mask
from mtljax.modules.norms import make_norm
from mtljax.modules.structures import draw, encoder_variables, merged_parameters
from mtljax.modules.transformer_layer import TransformerLayer
from mtljax.sharing import projected_attention

TASKS = ("y", "z")
D, H, FF = 8, 2, 16
LAYERS = {"transformer": 3, "lstm": 2}
ENCODERS = {
    "transformer": dict(kind="transformer", heads=H, feed_forward=FF, layers=3, dense=6),
    "lstm": dict(kind="lstm", layers=2, dense=6),
    "linear": dict(kind="linear", ngram_buckets=16),
}
STRUCTURES = {
    "lora": SharingConfig("lora", parts="both", rank=2, alpha=3.0),
    "mtl_lora": SharingConfig("mtl_lora", rank=2, ups=2),
    "adapters": SharingConfig("adapters", parts="both", width=6),
    "film": SharingConfig("film", task_embedding=3),
    "prefixes": SharingConfig("prefixes", prefix_length=3),
    "moe": SharingConfig("moe", experts=3, width=4),
    "pals": SharingConfig("pals", width=4),
    "private_layers": SharingConfig("private_layers", shared_layers=1),
}


def network(kind, sharing=SharingConfig(), attention="causal"):  # noqa: B008 - immutable
    specs = {task: HeadSpec(KINDS["regression"].head, 1, task) for task in TASKS}
    config = EncoderConfig(embedding=D, features=D, **ENCODERS[kind])
    modes = dict.fromkeys(TASKS, attention)
    return build(config, HeadsConfig(), specs, modes, 20, sharing=sharing)


@pytest.fixture
def batch(rng):
    tokens = rng.integers(4, 20, (3, 6)).astype(np.int32)
    positions = np.tile(np.arange(6, dtype=np.int32), (3, 1))
    return {"tokens": tokens, "segments": np.ones_like(tokens), "positions": positions}


def hidden(net, params, batch, task="y"):
    return encode(net, shared_and_private(net, params, task), task, batch).hidden


@functools.cache
def plain(kind):
    """What an encoder that all tasks share computes."""
    net = network(kind)
    return jax.jit(lambda shared, batch: encode(net, shared, "y", batch).hidden)


def drawn(net, hard):
    """The encoder's parameters as the structure begins from those of `hard`, in one program."""
    begin = jax.jit(lambda hard, key: draw(net.sharing, net.encoder.config, hard, TASKS, key))
    return jax.device_get(begin(hard, jax.random.key(0)))


def moved(net, batch, rng):
    """Parameters from NumPy, none of them 0 or 1: compiling what draws them takes long."""
    shapes = jax.eval_shape(lambda: init(net, jax.random.key(0), dict.fromkeys(TASKS, batch)))
    return jax.tree.map(lambda x: rng.normal(0, 0.4, x.shape).astype(x.dtype), shapes)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def sizes(kind):
    """Inputs and outputs of all matrices of an encoder."""
    if kind == "lstm":
        return [(D, 4 * D)] * LAYERS[kind] + [(D, 6)]
    return [(D, 3 * D), (D, D), (D, FF), (FF, D)] * LAYERS[kind] + [(D, 6)]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("transformer", name) for name in STRUCTURES if name not in ("mtl_lora", "film")),
        *(("lstm", name) for name in ("mtl_lora", "film")),
    ],
)
def test_begins_as_hard_sharing_and_every_gradient_is_there(kind, name, rng, batch):
    net = network(kind, STRUCTURES[name])
    hard = moved(network(kind), batch, rng)
    shared, private = drawn(net, hard["shared"])
    params = {"shared": shared, "private": private, "heads": hard["heads"]}

    def number(params):
        found = hidden(net, params, batch)
        return jnp.sum(jnp.sin(3 * found)), found

    differentiate = jax.jit(jax.grad(number, has_aux=True))
    _, found = differentiate(params)
    np.testing.assert_allclose(found, plain(kind)(hard["shared"], batch), 1e-5, 1e-6)

    # Parameters by the formula.
    r, n, m = 2, 2, 6
    matrices = sizes(kind)
    layers = LAYERS[kind]
    blocks = layers * (2 if kind == "transformer" else 1)
    layer = count(hard["shared"][kind].get("layers", {})) // layers
    added, own = {
        "lora": (sum(r * (i + o) for i, o in matrices),) * 2,
        "mtl_lora": (sum(r * (i + n * o) for i, o in matrices), len(matrices) * (r * r + n)),
        "adapters": (blocks * (2 * D * m + m + D),) * 2,
        "film": (layers * 3 * 2 * D, 3),
        "prefixes": (0, layers * 2 * 3 * D),
        "pals": (0, 2 * D * 4 + layers * 3 * 4**2),
        "moe": (layers * 3 * (2 * D * 4 + 4 + D), layers * (D + 1) * 3),
        "private_layers": (-2 * layer, 2 * layer),
    }[name]
    assert count(shared) == count(hard["shared"]) + added
    assert {count(private[task]) for task in TASKS} == {own}
    names = jax.tree.structure(logical_axes(net, params), is_leaf=lambda x: isinstance(x, tuple))
    assert names == jax.tree.structure(params)

    # The other task's parameters have no gradient, all others have.
    gradient, _ = differentiate(
        jax.tree.map(lambda x: x + rng.normal(0, 0.2, x.shape).astype(x.dtype), params)
    )
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient["shared"]))
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient["private"]["y"]))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["private"]["z"]))


@pytest.mark.parametrize(("kind", "name"), [("transformer", "lora"), ("lstm", "private_layers")])
def test_a_plain_encoder_of_the_merged_parameters_computes_the_same(kind, name, rng, batch):
    net = network(kind, STRUCTURES[name])
    params, found = moved(net, batch, rng), []
    of_task = jax.jit(lambda read: encode(net, read, "y", batch).hidden)
    merge = jax.jit(lambda read: merged_parameters(net.sharing, read))
    for task in TASKS:
        read = shared_and_private(net, params, task)
        merged = merge(read)
        found.append(of_task(read))
        np.testing.assert_allclose(found[-1], plain(kind)(merged, batch), 2e-4, 2e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    if name == "lora":  # by hand, for one matrix
        kernel = params["shared"]["dense"]["kernel"]
        parts = [params["shared"]["sharing"]["dense"], params["private"]["z"]["dense"]]
        expected = kernel + sum(3.0 / 2 * part["a"] @ part["b"] for part in parts)
        np.testing.assert_allclose(merged["dense"]["kernel"], expected, 1e-5, 1e-6)


def test_bottlenecks_side_by_side_are_their_sum(rng, batch):
    net = network("transformer", STRUCTURES["adapters"])
    params = moved(net, batch, rng)
    variables = encoder_variables(net.sharing, shared_and_private(net, params, "y"))
    one = variables["adapters"]["transformer"]["layers"]["attention_adapter"]
    x = rng.normal(size=(5, D)).astype(np.float32)
    expected = 0
    for part in (params["shared"]["sharing"], params["private"]["y"]):
        down, up = (part["transformer"]["layers"]["attention_adapter"][k] for k in ("down", "up"))
        inside = np.maximum(x @ down["kernel"][1] + down["bias"][1], 0)
        expected = expected + inside @ up["kernel"][1] + up["bias"][1]
    inside = np.maximum(x @ one["down"]["kernel"][1] + one["down"]["bias"][1], 0)
    found = inside @ one["up"]["kernel"][1] + one["up"]["bias"][1]
    np.testing.assert_allclose(found, expected, 1e-5, 1e-5)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("transformer", name) for name in ("lora", "film", "prefixes")]
    + [("lstm", name) for name in ("adapters", "moe")],
)
def test_decoding_is_a_whole_pass(kind, name, rng, batch):
    net = network(kind, STRUCTURES[name])
    params = moved(net, batch, rng)

    @jax.jit
    def both(params):
        read = shared_and_private(net, params, "z")
        prompts = {field: values[:, :5] for field, values in batch.items()}
        features, cache = kv_cache_decoding.prefill(net, read, "z", prompts, 1)
        prepared = kv_cache_decoding.prepare(net, read)
        last = jnp.asarray(batch["tokens"][:, 5])
        step, _ = kv_cache_decoding.decode_step(net, prepared, cache, last, None, jnp.asarray(0))
        found = jnp.concatenate([features.hidden, step.hidden], axis=1)
        return found, encode(net, read, "z", batch).hidden

    found, whole = both(params)
    np.testing.assert_allclose(found, whole, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("encoder", "sharing", "message"),
    [
        (dict(kind="linear"), SharingConfig("lora"), "structure 'lora': a linear encoder has no"),
        (dict(kind="linear"), SharingConfig("adapters"), "'adapters': a linear encoder has no"),
        (
            dict(),
            SharingConfig("prefixes"),
            "'prefixes': of a transformer alone; encoder.kind is 'ls",
        ),
        (
            dict(kind="transformer", heads=2),
            SharingConfig("pals", width=5),
            "width 5: 'pals' has as many attention heads as the encoder, and 2 do not divide it",
        ),
        (dict(layers=2), SharingConfig("lora", matrices="qvk"), "matrices 'qvk': found in the"),
        (dict(layers=2), SharingConfig("lora", matrices="("), r"matrices '\(': no regular exp"),
        (
            dict(layers=2),
            SharingConfig("private_layers", shared_layers=2),
            "shared_layers 2: of 2 layers, at least one has to be private",
        ),
    ],
)
def test_what_an_encoder_cannot_have(encoder, sharing, message):
    specs = {task: HeadSpec(KINDS["regression"].head, 1, task) for task in TASKS}
    config = EncoderConfig(embedding=D, features=D, **encoder)
    with pytest.raises(ValueError, match=message):
        build(config, HeadsConfig(), specs, dict.fromkeys(TASKS, "causal"), 20, sharing=sharing)


def test_tasks_with_private_parameters_are_encoded_apart():
    specs = {task: HeadSpec(KINDS["regression"].head, 1, "both") for task in TASKS}
    config = EncoderConfig(embedding=D, features=D)
    private = dataclasses.replace(STRUCTURES["lora"], parts="private")
    with pytest.raises(ValueError, match="structure 'lora': tasks y, z are encoded together"):
        build(config, HeadsConfig(), specs, {"both": "causal"}, 20, sharing=private)


@pytest.mark.exhaustive
def test_up_projections_of_tasks_become_unlike(rng, batch):
    """In equal shares, all of them 0 at first, they would have one gradient for ever."""
    net = network("transformer", STRUCTURES["mtl_lora"])
    hard = moved(network("transformer"), batch, rng)["shared"]
    shared, private = drawn(net, hard)

    def number(common):
        read = {**shared, "sharing": common, "private": private["y"]}
        return jnp.sum(jnp.sin(encode(net, read, "y", batch).hidden))

    gradient = jax.jit(jax.grad(number))(shared["sharing"])["transformer"]["layers"]["up"]["b"]
    assert np.abs(gradient[:, 0] - gradient[:, 1]).max() > 1e-2 * np.abs(gradient).max() > 0


def test_alike_experts_are_a_bottleneck_of_every_layer(rng, batch):
    """Whatever the gates are: shares sum to 1."""
    moe = network("lstm", STRUCTURES["moe"])
    adapters = network("lstm", SharingConfig("adapters", width=4))
    params, other = moved(moe, batch, rng), {}
    for i in range(LAYERS["lstm"]):
        own = params["shared"]["sharing"]["lstm"][f"layer_{i}_experts"]
        first = jax.tree.map(lambda leaf: leaf[:1], own)
        alike = jax.tree.map(lambda leaf: np.repeat(leaf, 3, axis=0), first)
        params["shared"]["sharing"]["lstm"][f"layer_{i}_experts"] = alike
        other[f"layer_{i}_adapter"] = jax.tree.map(lambda leaf: leaf[0], first)
    found = jax.jit(lambda params: hidden(moe, params, batch))(params)
    same = {"shared": params["shared"] | {"sharing": {"lstm": other}}}
    expected = jax.jit(lambda params: hidden(adapters, params, batch))(same)
    np.testing.assert_allclose(found, expected, 1e-4, 1e-5)


def test_projected_attention_is_added_to_a_layer(rng, batch):
    """It reads what attention reads, under the same mask."""
    layer = TransformerLayer(D, H, FF, 0.0, jnp.float32, None, train=False)
    mask = attention_mask(batch["segments"], causal=True)
    x, down, up = (rng.normal(size=size).astype(np.float32) for size in ((3, 6, D), (D, 4), (4, D)))
    own = {"down": down, "qkv": rng.normal(size=(4, 3, H, 2)).astype(np.float32), "up": up}
    args = (jnp.asarray(x), mask, batch["positions"], None)
    shapes = jax.eval_shape(lambda: nn.unbox(layer.init(jax.random.key(0), *args)))["params"]
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)

    @jax.jit
    def run(params, added):
        norm = make_norm(layer.architecture, jnp.float32, None)
        read = norm.apply({"params": params["attention_norm"]}, x)
        seen = projected_attention(read, *added.values(), mask)
        with_it, without = (
            layer.apply({"params": params, "adapters": extra}, *args)[0]
            for extra in ({"pal": added}, {})
        )
        return with_it, without + seen

    np.testing.assert_allclose(*run(params, own), 1e-4, 1e-4)


def test_a_prefix_with_one_value_is_a_bias_of_attention(rng, batch):
    """Whatever its keys are: shares sum to 1."""
    net = network("transformer", STRUCTURES["prefixes"])
    params = moved(net, batch, rng)
    prefix = params["private"]["y"]["transformer"]["layers"]["prefix"]
    prefix["values"] = np.repeat(prefix["values"][:, :1], 3, axis=1)
    layers = params["shared"]["transformer"]["layers"]
    out = layers["out"]
    bias = np.einsum("lhd,lhdf->lf", prefix["values"][:, 0], out["kernel"])
    other = layers | {"out": out | {"bias": out.get("bias", 0) + bias}}
    body = params["shared"]["transformer"] | {"layers": other}
    found = jax.jit(lambda params: hidden(net, params, batch))(params)
    expected = plain("transformer")(params["shared"] | {"transformer": body}, batch)
    np.testing.assert_allclose(found, expected, 1e-4, 1e-5)


def test_features_are_scaled_and_shifted_by_the_task(rng, batch):
    net = network("linear", STRUCTURES["film"])
    params = moved(net, batch, rng)
    run = jax.jit(lambda params: {task: hidden(net, params, batch, task) for task in TASKS})(params)
    kernel = params["shared"]["sharing"]["linear"]["film"]["kernel"]
    encoder = {name: leaf for name, leaf in params["shared"].items() if name != "sharing"}
    x = np.asarray(plain("linear")(encoder, batch))
    for task in TASKS:
        embedding = params["private"][task]["embedding"]
        scale, shift = (sum(embedding[k] * kernel[k, i] for k in range(3)) for i in range(2))
        np.testing.assert_allclose(run[task], x * (1 + scale) + shift, 1e-5, 1e-6)
