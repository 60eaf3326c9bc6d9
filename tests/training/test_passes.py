"""A run's step in one pass and group by group, on one device and on eight."""

import dataclasses
from collections.abc import Callable

import pytest

from mtljax.errors import UserError
from mtljax.presets import GradientsConfig
from mtljax.training.distributed import distribute
from mtljax.training.inputs.abstract_batch import abstract_batch
from mtljax.training.method import make_method
from tests.training.on_devices import (
    LABEL,
    NEXT,
    OPTIMIZER,
    STARS,
    TAGS,
    assert_same,
    batches_for,
    configuration,
    make,
    run,
)

START = """
from tests.training.on_devices import *
drops = dict(dropout=0.3, embedding_dropout=0.2, word_dropout=0.2, token_dropout=0.1)
heads = HeadsConfig(("mean",), negatives=5, tag_hidden=4, dropout=0.2, tag_dropout=0.2)
by_group = GradientsConfig(passes="by_group")
MAPPED = {"data": 8, "strategy": "shard_map"}
"""


@pytest.mark.exhaustive
def test_dropout_and_negatives_do_not_depend_on_passes_and_devices(
    on_eight_devices: Callable[[str], str],
):
    """On one device group by group, on eight in one pass; every kind of attention and of head."""
    printed = on_eight_devices(f"""{START}
config = configuration("transformer", heads=heads, dropout_mask="text", **drops)
found = compare(config, [LABEL, TAGS, NEXT, REPLY], [{{"data": 8, "sharding": "fsdp"}}])
print(found[0][0].passes)
config = configuration("lstm", heads=heads, recurrent_dropout=0.3, gradients=by_group, **drops)
found = compare(config, [LABEL, STARS, NEXT], [MAPPED], ("label", "stars"))
print(found[0][0].passes)
""")
    assert printed.splitlines() == [
        "4 input groups in one pass: 8 devices",
        "2 input groups one after the other: as asked for",
    ]


@pytest.mark.exhaustive
def test_several_groups_send_what_one_does(on_eight_devices: Callable[[str], str]):
    """And gather as much under FSDP: each layer once in each direction, whatever their number."""
    printed = on_eight_devices(f"""{START}
from mtljax.parallel import collectives, sent_bytes

def sent(passes, together, rows, **parallel):
    config = dataclasses.replace(
        configuration("transformer", gradients=GradientsConfig(passes=passes), layers=2),
        parallel=ParallelConfig(data=8, **parallel))
    made = make(config, [LABEL, STARS], together)
    shapes = {{n: dataclasses.replace(s, rows=rows) for n, s in made.layout.shapes.items()}}
    made = dataclasses.replace(made, layout=dataclasses.replace(made.layout, shapes=shapes))
    batch = abstract_batch(made.layout)
    method = make_method(config, 2)
    devices = distribute(config, made, method, OPTIMIZER, batch)
    state = jax.eval_shape(devices.init, batch)
    text = devices.step.lower(state, batch, abstract_extra(made.layout, method.requires)).compile()
    return sent_bytes(collectives(text.as_text()), 8)

for parallel in ({{}}, {{"sharding": "fsdp"}}):
    one = sent("one", ("label", "stars"), 16, **parallel)
    several = sent("one", (), 8, **parallel)
    print(sum(several.values()) < 1.02 * sum(one.values()),
          several.get("all-gather", 0) <= one.get("all-gather", 0))
# What the counters would say of layers that are gathered for each group.
print(sent("by_group", (), 8, **parallel)["all-gather"] > 1.5 * one["all-gather"])
""")
    assert printed.splitlines() == ["True True", "True True", "True"]


def test_on_one_device_both_ways_are_one_step():
    config = configuration("linear", "uncertainty", dropout=0.3, word_dropout=0.2)
    made = make(config, [LABEL, STARS, TAGS], ("label", "stars"))
    batches = batches_for(config, made)
    found = []
    for passes in ("auto", "one"):
        asked = dataclasses.replace(config, gradients=GradientsConfig(passes=passes))
        devices, state, metrics, _ = run(asked, made, batches)
        found.append((devices.passes, [state, metrics]))
    assert_same(found[1][1], found[0][1], rtol=1e-5, atol=1e-6)
    assert [line for line, _ in found] == [
        "2 input groups one after the other: one CPU device",
        "2 input groups in one pass: as asked for",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weighting": "mgda"}, "gradients.passes 'one': the method reads the gradient of every"),
        ({"non_finite": "leave_out"}, "gradients.passes 'one': non_finite 'leave_out' looks at"),
    ],
)
def test_one_pass_where_there_can_be_none(settings, message):
    config = configuration("linear", gradients=GradientsConfig(passes="one"))
    config = dataclasses.replace(config, **settings)
    made = make(config, [LABEL, NEXT])
    method = make_method(config, 2)
    with pytest.raises(UserError, match=message) as caught:
        distribute(config, made, method, OPTIMIZER, abstract_batch(made.layout))
    assert "\n" not in str(caught.value)
