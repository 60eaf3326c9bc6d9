import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

from mtljax.kinds import KINDS
from mtljax.modules import DecoderConfig, EncoderConfig, HeadsConfig, HeadSpec, build, logical_axes
from mtljax.modules.network import init
from mtljax.parallel.mesh import AXES
from mtljax.parallel.rules import (
    AXIS_RULES,
    follow,
    largest_dimension,
    parameter_specs,
    parse_rule,
)

MESH = AbstractMesh((1, 4, 2), AXES)
IDS = np.arange(4)
ADAPTER = {
    "gate": jax.ShapeDtypeStruct((8,), "float32"),
    "kernel": jax.ShapeDtypeStruct((8, 8), "float32"),
}


@pytest.fixture(scope="module")
def network():
    """A transformer and two heads."""
    return build(
        EncoderConfig("transformer", embedding=8, features=16, layers=3, heads=4, feed_forward=64),
        HeadsConfig(),
        {
            "label": HeadSpec(KINDS["classification"].head, 3, "text"),
            "tags": HeadSpec(KINDS["tagging"].head, 5, "text"),
        },
        {"text": False},
        vocabulary_size=40,
        affix_buckets=6,
    )


@pytest.fixture(scope="module")
def params(network):
    """Shapes of its parameters."""
    return shapes_of(network)


@pytest.fixture(scope="module")
def axes(network, params):
    return logical_axes(network, params)


def shapes_of(network):
    ids = jax.ShapeDtypeStruct((2, 4), jnp.int32)
    batch = dict.fromkeys(("tokens", "segments", "positions"), ids)
    batch["affixes"] = jax.ShapeDtypeStruct((2, 4, 2), jnp.int32)
    return jax.eval_shape(lambda batch: init(network, jax.random.key(0), {"text": batch}), batch)


def by_path(specs):
    leaves = jax.tree_util.tree_leaves_with_path(specs, is_leaf=lambda node: isinstance(node, P))
    return {jax.tree_util.keystr(p, simple=True, separator="/"): spec for p, spec in leaves}


def test_heads_features_and_words_over_the_model_axis(params, axes):
    specs = by_path(parameter_specs(params, axes, MESH).specs)
    layers = "shared/transformer/layers"
    assert specs["shared/embedding/words"] == P("model")
    assert specs["shared/embedding/affixes"] == P("model")
    assert specs[f"{layers}/qkv/kernel"] == P(None, None, None, "model")
    assert specs[f"{layers}/qkv/bias"] == P(None, None, "model")
    assert specs[f"{layers}/out/kernel"] == P(None, "model")
    assert specs[f"{layers}/up/kernel"] == P(None, None, "model")
    assert specs[f"{layers}/down/kernel"] == P(None, "model")
    assert specs[f"{layers}/down/bias"] == specs["heads/label/out/kernel"] == P()


def test_fsdp_takes_the_largest_dimension_that_is_left(params, axes):
    specs = by_path(parameter_specs(params, axes, MESH, fsdp=("data",)).specs)
    layers = "shared/transformer/layers"
    assert specs["shared/embedding/words"] == P("model", "data")
    assert specs["shared/embedding/affixes"] == P("model", "data")
    assert specs[f"{layers}/qkv/kernel"] == P(None, "data", None, "model")
    assert specs[f"{layers}/up/kernel"] == P(None, "data", "model")
    assert specs[f"{layers}/down/kernel"] == P(None, "model", "data")
    # Never along the layers, which are scanned.
    assert specs[f"{layers}/attention_norm/scale"] == P(None, "data")
    assert specs["heads/label/out/kernel"] == P()


def test_two_axes_of_fsdp_act_as_one(params, axes):
    mesh = AbstractMesh((2, 4, 1), AXES)
    specs = by_path(parameter_specs(params, axes, mesh, fsdp=("task", "data")).specs)
    assert specs["shared/embedding/words"] == P(("task", "data"))
    assert specs["shared/embedding/affixes"] == P(None, ("task", "data"))


def test_what_does_not_divide_is_replicated():
    axes = {"words": ("vocabulary", "embedding")}
    assert parameter_specs({"words": jnp.zeros((7, 5))}, axes, MESH) == ({"words": P()}, ())


ENCODERS = {
    "transformer": EncoderConfig("transformer", 8, 16, 3, heads=4, feed_forward=64, dense=8),
    "lstm": EncoderConfig("lstm", 8, 16, 2, dense=8),
    "linear": EncoderConfig("linear", 8, ngrams=3, ngram_buckets=12),
}


@pytest.mark.parametrize("attention", ["bidirectional", "causal", "separate"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_rule_covers_every_parameter(kind, attention):
    task = KINDS["tagging" if attention == "bidirectional" else "text_to_text"]
    spec = HeadSpec(task.head, 4, "text", IDS)
    network = build(
        ENCODERS[kind],
        HeadsConfig(),
        {"task": spec},
        {"text": attention},
        vocabulary_size=40,
        affix_buckets=6,
        decoder=DecoderConfig(layers=2, feed_forward=64),
    )
    params = shapes_of(network)
    specs, uncovered = parameter_specs(params, logical_axes(network, params), MESH, fsdp=("data",))
    assert not uncovered
    assert set(by_path(specs["heads"]).values()) == {P()}
    # Everything that the tasks share has a dimension that is split, whatever it is called.
    assert P() not in by_path(specs["shared"]).values()


def test_a_parameter_without_names_is_reported(network, params, axes):
    """A layer whose parameters were made without names, or with one that no rule knows."""
    more = {**params, "shared": {**params["shared"], "adapter": ADAPTER}}
    names = logical_axes(network, more)
    assert names["shared"] == {**axes["shared"], "adapter": {"gate": None, "kernel": None}}
    names["shared"]["adapter"]["gate"] = ("featurez",)
    specs, uncovered = parameter_specs(more, names, MESH, fsdp=("data",))
    assert uncovered == ("shared/adapter/gate", "shared/adapter/kernel")
    assert specs["shared"]["adapter"] == {"gate": P(), "kernel": P()}
    rule = parse_rule("adapter/=data")
    specs, uncovered = parameter_specs(more, names, MESH, rules=[rule])
    assert not uncovered and specs["shared"]["adapter"]["kernel"] == P("data")


def test_names_are_as_many_as_dimensions():
    with pytest.raises(ValueError, match="words: has 2 dimensions, named"):
        parameter_specs({"words": jnp.zeros((7, 6))}, {"words": ("vocabulary",)}, MESH)


def test_names_of_a_module_of_a_user():
    """A Flax module that names its dimensions as those of `mtljax.modules` do."""
    init = nn.with_logical_partitioning(nn.initializers.ones, ("features", "feed_forward"))
    layer = nn.Dense(4, kernel_init=init, use_bias=False)
    boxed = jax.eval_shape(layer.init, jax.random.key(0), jnp.ones((1, 8)))["params"]
    names = {"kernel": boxed["kernel"].names}
    assert set(names["kernel"]) <= set(AXIS_RULES)
    specs, _ = parameter_specs(nn.unbox(boxed), names, MESH, fsdp=("data",))
    assert specs == {"kernel": P("data", "model")}


def test_rules_of_a_user_come_first(params, axes):
    rules = [parse_rule("words$=-,data+model"), parse_rule("shared/=")]
    specs = by_path(parameter_specs(params, axes, MESH, fsdp=("data",), rules=rules).specs)
    assert specs["shared/embedding/words"] == P(None, ("data", "model"))
    assert specs["shared/transformer/layers/up/kernel"] == P()
    assert specs["shared/embedding/affixes"] == P()


@pytest.mark.parametrize(
    "text, message",
    [
        ("words", "rule 'words': expected REGEX=AXES"),
        ("words=rows", "rule 'words=rows': no axis 'rows'; there are task, data, model"),
        ("(=data", r"rule '\(=data': no regular expression"),
    ],
)
def test_rules_that_cannot_be_read(text, message):
    with pytest.raises(ValueError, match=message):
        parse_rule(text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("wordz=data", "rule 'wordz' is found in the path of no parameter"),
        ("words=-,-,data", "words has 2 dimensions, not 3"),
        ("tags/out/bias=data", r"shape \(5,\), which data \(4 devices\) does not divide"),
    ],
)
def test_rules_that_do_not_fit(params, axes, text, message):
    with pytest.raises(ValueError, match=message):
        parameter_specs(params, axes, MESH, rules=[parse_rule(text)])


def test_a_state_follows_its_parameters(params, axes):
    specs, _ = parameter_specs(params, axes, MESH, fsdp=("data",))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    rows = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), params["shared"]
    )
    state = {
        "optimizer": jax.eval_shape(optimizer.init, params),
        "tracked": rows,
        "average": params,
        "count": jnp.zeros((), jnp.int32),
    }
    found = by_path(follow(state, params, specs))
    for path, spec in by_path(specs).items():
        assert found[f"optimizer/1/0/mu/{path}"] == found[f"optimizer/1/0/nu/{path}"] == spec
        assert found[f"average/{path}"] == spec
        if path.startswith("shared/"):
            assert found[f"tracked/{path.removeprefix('shared/')}"] == P(None, *spec)
    assert found["count"] == found["optimizer/1/0/count"] == P()


@pytest.mark.parametrize(
    "shape, count, expected",
    [
        ((4, 8), 4, 1),
        ((8, 8), 4, 1),
        ((8, 6), 4, 0),
        ((3, 5), 4, None),
        ((), 4, None),
        ((0,), 2, None),
    ],
)
def test_largest_dimension(shape, count, expected):
    assert largest_dimension(shape, count) == expected
