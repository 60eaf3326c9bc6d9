import dataclasses
import math
import re

import pytest

from mtljax.errors import UserError
from mtljax.presets import Config
from mtljax.ranges import at_least, bounded, check_ranges, fraction, positive, range_of


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = positive(default=0.5)
    share: float = fraction(default=0.0)
    lengths: tuple[int, ...] = at_least(1, default=(2, 3))


@dataclasses.dataclass(frozen=True)
class Outer:
    count: int = at_least(1, default=4)
    seed: int = bounded(low=0, high=2**32, high_open=True, default=0)
    order: int = bounded(low=1, high=4, default=2)
    above: float = bounded(low=2, low_open=True, default=3.0)
    name: str = "free"
    inner: Inner = Inner()


def test_the_field_has_its_default_and_its_range():
    assert (Outer().count, Outer().inner.lengths, Outer.seed) == (4, (2, 3), 0)
    fields = {field.name: field for field in dataclasses.fields(Outer)}
    allowed = range_of(fields["order"])
    assert allowed is not None and (allowed.low, allowed.high) == (1, 4)
    assert range_of(fields["name"]) is None


@pytest.mark.parametrize(
    "field, good, bad, message",
    [
        ("count", (1, 10**9), 0, "must be at least 1, got 0"),
        ("seed", (0, 2**32 - 1), 2**32, "must be less than 2^32, got 4294967296"),
        ("seed", (), -1, "must be at least 0, got -1"),
        ("order", (1, 4), 5, "must be at most 4, got 5"),
        ("above", (2.5,), 2.0, "must be greater than 2, got 2.0"),
        ("inner.rate", (1e-9, 1e9), 0.0, "must be positive, got 0.0"),
        ("inner.rate", (), -1.0, "must be positive, got -1.0"),
        ("inner.rate", (), math.inf, "must be finite, got inf"),
        ("inner.share", (0.0, 0.999), 1.0, "must be in [0, 1), got 1.0"),
        ("inner.share", (), math.nan, "must be finite, got nan"),
        ("inner.lengths", ((), (1, 5)), (2, 0), "must be at least 1, got 0"),
    ],
)
def test_values_and_messages(field, good, bad, message):
    *outer, name = field.split(".")

    def changed(value):
        inner = dataclasses.replace(Inner() if outer else Outer(), **{name: value})
        return Outer(inner=inner) if outer else inner

    for value in good:
        check_ranges(changed(value))
    with pytest.raises(UserError) as error:
        check_ranges(changed(bad))
    assert str(error.value) == f"{field}: {message}"
    with pytest.raises(UserError, match=f"^run.{field}: "):
        check_ranges(changed(bad), "run.")


@pytest.mark.parametrize(
    ("path", "bound"),
    [
        ("encoder.layers", "1000"),
        ("encoder.features", "2^20"),
        ("encoder.ngram_buckets", "2^30"),
        ("heads.hidden", "2^20"),
        ("batch.row_length", "2^20"),
        ("batch.tokens", "2^26"),
        ("steps", "2147483647"),
    ],
)
def test_sizes_that_nobody_builds_are_refused(path, bound):
    *outer, name = path.split(".")
    config = Config()
    part = getattr(config, outer[0]) if outer else config
    part = dataclasses.replace(part, **{name: 10**10})
    config = dataclasses.replace(config, **{outer[0]: part}) if outer else part
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}: must be at most {bound}, got 1')}"):
        check_ranges(config)
