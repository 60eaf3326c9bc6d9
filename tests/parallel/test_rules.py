import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

from mtljax.kinds import KINDS
from mtljax.modules import EncoderConfig, HeadsConfig, HeadSpec, build
from mtljax.modules.network import init
from mtljax.parallel import AXES, follow, parameter_specs, parse_rule
from mtljax.parallel.rules import largest_dimension

MESH = AbstractMesh((1, 4, 2), AXES)


@pytest.fixture(scope="module")
def params():
    """Shapes of a transformer's parameters and of two heads'."""
    network = build(
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
    ids = jax.ShapeDtypeStruct((2, 4), jnp.int32)
    batch = dict.fromkeys(("tokens", "segments", "positions"), ids)
    batch["affixes"] = jax.ShapeDtypeStruct((2, 4, 2), jnp.int32)
    return jax.eval_shape(lambda batch: init(network, jax.random.key(0), {"text": batch}), batch)


def by_path(specs):
    leaves = jax.tree_util.tree_leaves_with_path(specs, is_leaf=lambda node: isinstance(node, P))
    return {jax.tree_util.keystr(p, simple=True, separator="/"): spec for p, spec in leaves}


def test_heads_features_and_words_over_the_model_axis(params):
    specs = by_path(parameter_specs(params, MESH))
    layers = "shared/transformer/layers"
    assert specs["shared/embedding/words"] == P("model")
    assert specs["shared/embedding/affixes"] == P("model")
    assert specs[f"{layers}/qkv/kernel"] == P(None, None, None, "model")
    assert specs[f"{layers}/qkv/bias"] == P(None, None, "model")
    assert specs[f"{layers}/out/kernel"] == P(None, "model")
    assert specs[f"{layers}/up/kernel"] == P(None, None, "model")
    assert specs[f"{layers}/down/kernel"] == P(None, "model")
    assert specs[f"{layers}/down/bias"] == specs["heads/label/out/kernel"] == P()


def test_fsdp_takes_the_largest_dimension_that_is_left(params):
    specs = by_path(parameter_specs(params, MESH, spread=("data",)))
    layers = "shared/transformer/layers"
    assert specs["shared/embedding/words"] == P("model", "data")
    assert specs["shared/embedding/affixes"] == P("model", "data")
    assert specs[f"{layers}/qkv/kernel"] == P(None, "data", None, "model")
    assert specs[f"{layers}/up/kernel"] == P(None, "data", "model")
    assert specs[f"{layers}/down/kernel"] == P(None, "model", "data")
    # Never along the layers, which are scanned.
    assert specs[f"{layers}/attention_norm/scale"] == P(None, "data")
    assert specs["heads/label/out/kernel"] == P()


def test_two_axes_of_fsdp_act_as_one(params):
    mesh = AbstractMesh((2, 4, 1), AXES)
    specs = by_path(parameter_specs(params, mesh, spread=("task", "data")))
    assert specs["shared/embedding/words"] == P(("task", "data"))
    assert specs["shared/embedding/affixes"] == P(None, ("task", "data"))


def test_what_does_not_divide_is_whole():
    params = {"embedding": {"words": jnp.zeros((7, 6))}}
    assert parameter_specs(params, MESH) == {"embedding": {"words": P()}}


def test_rules_of_a_user_come_first(params):
    rules = [parse_rule("words$=-,data+model"), parse_rule("shared/=")]
    specs = by_path(parameter_specs(params, MESH, spread=("data",), rules=rules))
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
def test_rules_that_do_not_fit(params, text, message):
    with pytest.raises(ValueError, match=message):
        parameter_specs(params, MESH, rules=[parse_rule(text)])


def test_a_state_follows_its_parameters(params):
    specs = parameter_specs(params, MESH, spread=("data",))
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
