"""What reads the attention of long rows is chosen by the devices, the rows and the encoder."""

import dataclasses
from types import SimpleNamespace

import pytest

from mtljax.modules.architecture import Architecture
from mtljax.modules.blockwise_attention import LONG
from mtljax.modules.splash_attention import LONGEST
from mtljax.training.long_rows import read_long_rows
from tests.training.on_devices import LABEL, configuration, make


@pytest.mark.parametrize(
    ("platform", "length", "settings", "long", "said"),
    [
        ("tpu", LONG, {}, "splash", "the splash kernel"),
        ("tpu", LONG - 1, {}, "blocks", ""),
        ("cpu", LONG, {}, "blocks", ""),
        ("tpu", LONG, {"attention": "xla"}, "blocks", ""),
        ("tpu", LONGEST + 1, {}, "blocks", "blocks, the splash kernel takes no row longer than"),
        ("tpu", LONG, {"architecture": Architecture(positions="relative")}, "blocks", "xla, rel"),
    ],
)
def test_the_devices_choose(platform, length, settings, long, said):
    model = make(configuration("transformer", **settings), [LABEL])
    (name, shape), *_ = model.layout.shapes.items()
    shapes = {name: dataclasses.replace(shape, row_length=length)}
    layout = dataclasses.replace(model.layout, shapes=shapes)
    model = dataclasses.replace(model, layout=layout)
    found, line = read_long_rows(model, [SimpleNamespace(platform=platform)])
    assert found.network.encoder.long == long
    assert said in line and bool(said) == bool(line)
