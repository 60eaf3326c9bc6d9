import dataclasses
import math
import re

import pytest

from mtljax.errors import UserError
from mtljax.presets import PRESETS, Config, check, flatten, preset
from mtljax.ranges import range_of


def replaced(config, name, value):
    """The configuration with the field of a dotted name changed."""
    first, _, rest = name.partition(".")
    if rest:
        value = replaced(getattr(config, first), rest, value)
    return dataclasses.replace(config, **{first: value})


def dataclass_fields(config, prefix=""):
    """Every field of a nested configuration that holds a value, by dotted name."""
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from dataclass_fields(value, f"{name}.")
        else:
            yield name, field


FIELDS = flatten(Config())
FLOATS = [name for name, value in FIELDS.items() if isinstance(value, float)]
SHARES = [name for name in FIELDS if name.endswith("dropout")] + ["optimizer.b1", "optimizer.b2"]


def test_flatten_names_every_field():
    assert FIELDS["encoder.features"] == Config().encoder.features
    assert FIELDS["weighting_options"] == {}
    assert all(not dataclasses.is_dataclass(value) for value in FIELDS.values())


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name):
    found = preset(name)
    check(found.config)
    assert found.config.preset == name and found.tasks


def test_the_first_preset_is_small():
    assert next(iter(PRESETS)) == "small"


def test_measuring_some_steps_needs_measuring():
    config = replaced(Config(), "gradients.telemetry_every", 5)
    with pytest.raises(UserError, match="telemetry_every: needs gradients.telemetry"):
        check(config)
    check(replaced(config, "gradients.telemetry", True))


def test_unknown_preset():
    with pytest.raises(UserError, match="preset 'smal': unknown.*small"):
        preset("smal")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", FLOATS)
def test_numbers_must_be_finite(name, value):
    with pytest.raises(UserError, match=f"^{name}: must be finite, got {value}$"):
        check(replaced(Config(), name, value))


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5])
@pytest.mark.parametrize("name", SHARES)
def test_probabilities_are_below_one(name, value):
    with pytest.raises(UserError, match=rf"^{name}: must be in \[0, 1\), got {value}$"):
        check(replaced(Config(), name, value))


def test_every_number_has_a_range():
    numeric = {
        name: range_of(field)
        for name, field in dataclass_fields(Config())
        if re.search(r"\b(int|float)\b", str(field.type))
    }
    assert numeric.keys() >= {"steps", "seed", "tokenizer.prefixes", *FLOATS}
    for name, allowed in numeric.items():
        assert allowed is not None, name
        value = FIELDS[name]
        for number in value if isinstance(value, tuple) else (value,):
            assert allowed.problem(number) == "", name


@pytest.mark.parametrize(
    "name, bad, good",
    [
        ("steps", -1, 0),
        ("epochs", -0.5, 0.5),
        ("seed", -1, 2**32 - 1),
        ("seed", 2**32, 0),
        ("evaluate_every", 0, 1),
        ("log_every", 0, 1),
        ("batch.tokens", 0, 1),
        ("batch.row_length", 1, 2),
        ("batch.ahead", -1, 0),
        ("batch.multiple", 0, 8),
        ("batch.workers", -1, 0),
        ("parallel.task", -2, 0),
        ("parallel.data", -2, -1),
        ("parallel.model", -2, 4),
        ("encoder.embedding", 0, 1),
        ("encoder.features", 0, 2),
        ("encoder.features", 3, 4),
        ("encoder.layers", 0, 1),
        ("encoder.heads", 0, 1),
        ("encoder.feed_forward", 0, 1),
        ("encoder.ngrams", 0, 4),
        ("encoder.ngrams", 5, 1),
        ("encoder.ngram_buckets", 1, 2),
        ("encoder.unroll", 0, 2),
        ("encoder.dense", -1, 0),
        ("decoder.layers", -1, 0),
        ("gradients.sketch", 1, 2),
        ("heads.hidden", -1, 0),
        ("heads.tag_hidden", -1, 0),
        ("heads.lookahead", -1, 0),
        ("heads.negatives", -1, 0),
        ("heads.negatives_power", -0.5, 0.0),
        ("heads.pooling", (), ("last",)),
        ("optimizer.learning_rate", 0.0, 1e-9),
        ("optimizer.learning_rate", -1e-3, 1e3),
        ("optimizer.warmup_steps", -1, 0),
        ("optimizer.final_fraction", -0.1, 0.0),
        ("optimizer.weight_decay", -1.0, 0.0),
        ("optimizer.clip_norm", -1.0, 0.0),
        ("optimizer.accumulate", 0, 1),
        ("optimizer.average", 1.0, 0.0),
        ("regularizer.l2", -1.0, 0.0),
        ("regularizer.group_lasso", -1.0, 0.0),
    ],
)
def test_ranges(name, bad, good):
    check(replaced(Config(), name, good))
    with pytest.raises(UserError) as error:
        check(replaced(Config(), name, bad))
    assert str(error.value).startswith(f"{name}: ") and "\n" not in str(error.value)


def test_a_transformer_needs_a_width_that_its_heads_divide():
    config = replaced(replaced(Config(), "encoder.kind", "transformer"), "encoder.features", 12)
    with pytest.raises(UserError, match=r"multiple of 2 \* encoder.heads \(4\), got 12"):
        check(config)
    check(replaced(config, "encoder.heads", 3))


def test_one_axis_is_what_the_others_leave():
    config = replaced(replaced(Config(), "parallel.task", 0), "parallel.data", -1)
    with pytest.raises(UserError, match="^parallel: one axis at most can be what"):
        check(config)
