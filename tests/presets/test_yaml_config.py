import dataclasses
import types
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax.errors import UserError
from mtljax.presets import PRESETS, Config, differences, dump_config, parse_config, preset

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def values(hint):
    """A strategy for a field's type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return configs(hint)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(values(argument) for argument in arguments))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(), PLAIN, max_size=3)
    return {
        int: st.integers(1, 10**12),
        float: st.floats(allow_nan=False),
        bool: st.booleans(),
        str: st.text(),
        type(None): st.none(),
    }[hint]


def configs(cls):
    hints = typing.get_type_hints(cls)
    fields = {f.name: values(hints[f.name]) for f in dataclasses.fields(cls)}
    if "vocab_size" in fields:  # the settings of a tokenizer check themselves
        fields["vocab_size"] = st.integers(300, 10**6)
        fields["file"] = st.text(min_size=1)
        of_file = st.builds(cls, **fields | {"kind": st.sampled_from(["file", "pretrained"])})
        fields["kind"] = values(hints["kind"]).filter(
            lambda kind: kind not in ("file", "pretrained")
        )
        return st.builds(cls, **fields | {"file": st.just("")}) | of_file
    if "temperature" in fields:  # so do those of a mixture
        fields |= dict.fromkeys(("temperature", "final_temperature"), st.floats(0.1, 1e9))
        fields |= dict.fromkeys(("floor", "step_size"), st.floats(1e-6, 1))
        fields |= dict.fromkeys(("stages", "every"), st.integers(2, 10**6))
    return st.builds(cls, **fields)


@settings(max_examples=60, deadline=None)
@given(configs(Config))
def test_what_is_dumped_is_read_back(config):
    found = parse_config(dump_config(config))
    assert found == config and not differences(config, found)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_read_back(name):
    config = preset(name).config
    assert parse_config(dump_config(config)) == config


def test_types_come_back_as_they_were():
    config = Config(epochs=2.0, weighting_options={"weights": [1, 2.5], "scale": "no"})
    text = dump_config(config)
    found = parse_config(text.replace("epochs: 2.0", "epochs: 2"))
    assert found == config and isinstance(found.epochs, float)
    assert isinstance(found.heads.pooling, tuple)


def test_left_out_fields_are_defaults():
    assert parse_config("steps: 7") == Config(steps=7)
    assert parse_config("encoder: {layers: 2}").encoder.layers == 2


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "expected one entry a field"),
        ("- 1", "expected one entry a field"),
        ("steps: [", "not YAML"),
        ("steps: !!python/object:os.system {}", "YAML tag "),
        ("stpes: 3", "unknown field 'stpes'"),
        ("encoder: {width: 3}", "unknown field 'encoder.width'"),
        ("1: 2", "unknown field '1'"),
        ("encoder: 3", "field 'encoder': expected fields, got 3"),
        ("encoder: null", "field 'encoder': expected fields"),
        ("steps: three", "field 'steps': 'three' is not int"),
        ("steps: 3.5", "field 'steps': 3.5 is not int"),
        ("steps: true", "field 'steps': True is not int"),
        ("epochs: true", "field 'epochs': True is not float"),
        ("epochs: 1e-3", "field 'epochs': '1e-3' is not float"),  # text, in YAML 1.1
        ("encoder: {remat: 1}", "field 'encoder.remat': 1 is not"),
        ("encoder: {remat: some}", "field 'encoder.remat': 'some' is not"),
        ("encoder: {kind: rnn}", "field 'encoder.kind': 'rnn' is not"),
        ("encoder: {bidirectional: no}", "field 'encoder.bidirectional': False is not"),
        ("heads: {pooling: mean}", "field 'heads.pooling': 'mean' is not"),
        ("heads: {pooling: [mean, median]}", "field 'heads.pooling': 'median' is not"),
        ("weighting_options: [1]", "field 'weighting_options': "),
    ],
)
def test_bad_text(text, message):
    with pytest.raises(UserError) as error:
        parse_config(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_differences_by_dotted_name():
    old = Config()
    new = dataclasses.replace(
        old, seed=3, optimizer=dataclasses.replace(old.optimizer, learning_rate=1.0)
    )
    found = differences(old, new)
    assert found == {"seed": (0, 3), "optimizer.learning_rate": (4e-3, 1.0)}
    assert differences(old, old) == {}


def test_a_tuple_among_options_is_no_difference():
    old, new = (Config(weighting_options={"weights": kind([1, 2])}) for kind in (list, tuple))
    assert differences(old, new) == {}


@pytest.mark.parametrize("before, now", [("true", "full"), ("false", "none")])
def test_what_older_versions_wrote_is_read(before, now):
    assert parse_config(f"encoder: {{remat: {before}}}").encoder.remat == now


def test_a_field_of_an_older_version_is_read_under_its_new_name():
    assert parse_config("gradients: {way: lagged}").gradients.strategy == "lagged"
