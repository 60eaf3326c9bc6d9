"""The same step on one device and on eight, by every strategy, and what it sends."""

import dataclasses
from collections.abc import Callable

import pytest

from mtljax.errors import UserError
from mtljax.presets import ParallelConfig
from mtljax.training.abstract_batch import abstract_batch
from mtljax.training.distributed import check_stages, distribute
from mtljax.training.method import make_method
from tests.training.on_devices import LABEL, OPTIMIZER, TAGS, configuration, make

START = """
import os
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
from tests.training.on_devices import *
JIT = {"data": 8}
MAPPED = {"data": 8, "strategy": "shard_map"}
PMAPPED = {"data": 8, "strategy": "pmap"}
"""


def test_every_head_on_a_transformer_with_batches_of_their_own(
    on_eight_devices: Callable[[str], str],
):
    """The language model draws negatives, the same on all devices."""
    printed = on_eight_devices(f"""{START}
from mtljax.parallel import collectives, placed_bytes, sent_bytes

found = compare(
    configuration("transformer", "mgda"), [LABEL, TAGS, NEXT, STARS],
    [MAPPED, {{"task": 4, "data": 2, "lower": True}},
     {{"data": 2, "model": 2, "task": 2, "sharding": "fsdp", "placement": "off"}}])
devices, state, text = found[1]
print(devices.about)
whole = found[0][1].params
size = sum(leaf.nbytes for leaf in jax.tree.leaves(whole["shared"]))
heads = sum(leaf.nbytes for leaf in jax.tree.leaves(whole["heads"]))
seen = collectives(text)
sent = sent_bytes(seen, 8)
moved = sum(n for kind, n in sent.items() if kind != "all-reduce")
# What does not divide is filled up to eight numbers, in each of four gradients.
print(0 <= moved - placed_bytes(size, 4, 4, 2) < 0.05 * size)
# The heads' gradients are added up, and small things; never the tasks' gradients side by side.
print(sum(one.size for one in seen if one.kind == "all-reduce") < 1.2 * heads + 1000)

words = state.optimizer.optimizer[1][0].trace["shared"]["embedding"]["words"]
print(words.sharding.spec, words.addressable_shards[0].data.nbytes / words.nbytes)
print(state.params["shared"]["embedding"]["words"].sharding.is_fully_replicated)
words = found[2][1].params["shared"]["embedding"]["words"]
print(words.sharding.spec, words.addressable_shards[0].data.nbytes / words.nbytes)
""")
    about, *rest = printed.splitlines()
    assert about.startswith(
        "task 4 x data 2 x model 1 devices, jit, replicated; tasks on groups of devices: "
    )
    assert rest == [
        "True",
        "True",
        "P(('data', 'task'),) 0.125",
        "True",
        "P('model', ('task', 'data')) 0.125",
    ]


def test_shared_inputs_and_a_recurrent_encoder(on_eight_devices: Callable[[str], str]):
    printed = on_eight_devices(f"""{START}
tasks, together = [LABEL, TAGS, NEXT], ("label", "tags", "next")
compare(configuration("lstm", "nash_mtl"), tasks, [JIT, MAPPED], together)
way = GradientsConfig(way="representation")
compare(configuration("lstm", "upgrad", gradients=way), tasks, [MAPPED], together)
print("done")
""")
    assert printed == "done\n"


def test_kinds_of_methods(on_eight_devices: Callable[[str], str]):
    """Losses alone, losses after the step, a Gramian, an aggregator, and several batches."""
    printed = on_eight_devices(f"""{START}
tasks = [LABEL, TAGS]
placed = {{"task": 2, "data": 4}}
compare(configuration("linear"), tasks, [JIT, PMAPPED])
(found,) = compare(configuration("linear", "famo"), tasks, [MAPPED])
compare(configuration("linear", "upgrad", accumulate=2), tasks, [MAPPED, placed])
(found,) = compare(configuration("linear", "moco"), tasks, [placed])
tracked = found[1].optimizer.weighting.tracked["embedding"]["words"]
print(tracked.sharding.spec, tracked.addressable_shards[0].data.nbytes / tracked.nbytes)
compare(configuration("linear", "modo"), tasks, [{{**placed, "sharding": "fsdp"}}])
""")
    assert printed == "P(None, ('data', 'task')) 0.125\n"


def test_weights_of_the_step_before(on_eight_devices: Callable[[str], str]):
    printed = on_eight_devices(f"""{START}
tasks = [LABEL, TAGS, STARS]
compare(configuration("linear", "mgda", gradients=GradientsConfig(way="lagged")), tasks, [MAPPED])
sketched = GradientsConfig(way="sketched", sketch=64)
compare(configuration("linear", "mgda", gradients=sketched), tasks, [JIT, MAPPED])
print("done")
""")
    assert printed == "done\n"


def attempt(tasks=(LABEL, TAGS), weighting="mgda", together=(), way=None, **parallel):
    config = configuration("linear", weighting)
    if way:
        config = dataclasses.replace(
            config, gradients=dataclasses.replace(config.gradients, way=way)
        )
    config = dataclasses.replace(config, parallel=ParallelConfig(**parallel))
    model = make(config, tasks, together)
    method = make_method(config, len(tasks))
    batch = abstract_batch(model.layout)
    return distribute(config, model, method, OPTIMIZER, batch)


@pytest.mark.parametrize("sizes", [{"data": 2}, {"task": 3}, {"model": 2, "data": 4}])
def test_a_mesh_that_does_not_multiply(sizes):
    with pytest.raises(UserError, match="^parallel: a mesh of task .* multiply to 1 devices$"):
        attempt(**sizes)


def test_one_device_has_no_mesh():
    found = attempt()
    assert found.mesh is None and found.about == "" and found.evaluated("params") == "params"
    check_stages(found, [{"of_label": 7}])
