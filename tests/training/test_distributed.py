"""The same step on one device and on eight, by every strategy, and what it sends."""

import dataclasses
from collections.abc import Callable

import jax
import pytest

from mtljax.errors import UserError
from mtljax.parallel import rules
from mtljax.presets import ParallelConfig
from mtljax.training.distributed import check_stages, distribute
from mtljax.training.inputs.abstract_batch import abstract_batch
from mtljax.training.method import make_method
from mtljax.training.persistence.checkpoints import Checkpoints
from tests.training.on_devices import (
    LABEL,
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
JIT = {"data": 8}
MAPPED = {"data": 8, "strategy": "shard_map"}
PMAPPED = {"data": 8, "strategy": "pmap"}
"""


@pytest.mark.exhaustive
def test_every_head_on_a_transformer_with_batches_of_their_own(
    on_eight_devices: Callable[[str], str],
):
    """A source is read both ways."""
    printed = on_eight_devices(f"""{START}
from mtljax.parallel import collectives, exchanged_bytes, sent_bytes

full = HeadsConfig(negatives=0)
found = compare(
    configuration("transformer", "imtl_g", heads=full, average=0.9), [REPLY, TAGS, NEXT, STARS],
    [{{"task": 4, "data": 2, "lower": True}},
     {{"data": 2, "model": 2, "task": 2, "sharding": "fsdp", "placement": "off"}}])
devices, state, text = found[0]
print(devices.about)
whole = found[0][1].params
size = sum(leaf.nbytes for leaf in jax.tree.leaves(whole["shared"]))
heads = sum(leaf.nbytes for leaf in jax.tree.leaves(whole["heads"]))
seen = collectives(text)
sent = sent_bytes(seen, 8)
moved = sum(n for kind, n in sent.items() if kind != "all-reduce")
# What does not divide is filled up to eight numbers, in each of four gradients.
print(0 <= moved - exchanged_bytes(size, 4, 4, 2) < 0.05 * size)
# The heads' gradients are summed, and small things; never the gradients of all tasks.
print(sum(one.size for one in seen if one.kind == "all-reduce") < 1.2 * heads + 1000)

words = state.optimizer.optimizer[1][0].trace["shared"]["embedding"]["words"]
print(words.sharding.spec, words.addressable_shards[0].data.nbytes / words.nbytes)
print(state.params["shared"]["embedding"]["words"].sharding.is_fully_replicated)
words = found[1][1].params["shared"]["embedding"]["words"]
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


@pytest.mark.exhaustive
def test_tasks_whose_heads_are_one_function(on_eight_devices: Callable[[str], str]):
    """Alike groups are one trace on each device: with all rows, with rows of its own, by FSDP."""
    printed = on_eight_devices(f"""{START}
from mtljax.kinds import Output
from mtljax.tasks import Task
from tests.training import on_devices

tasks = [Task(n, n, "classification", "text", "label") for n in "abc"]
on_devices.OUTPUTS |= {{n: Output(3, ("x", "y", "z")) for n in "abc"}}
fsdp = {{**JIT, "sharding": "fsdp", "placement": "off"}}
compare(configuration("linear", "equal"), [*tasks, STARS], [JIT])
compare(configuration("linear", "upgrad"), [*tasks, STARS], [MAPPED, fsdp])
print("same")
""")
    assert printed == "same\n"


@pytest.mark.exhaustive
def test_heads_that_tasks_have_together(on_eight_devices: Callable[[str], str]):
    """Their gradients are summed over rows and exchanged between tasks as those of the encoder."""
    printed = on_eight_devices(f"""{START}
from mtljax.kinds import Output
from mtljax.tasks import Task
from tests.training import on_devices

first, *others = [Task(n, n, "classification", "text", "label", head="mood") for n in "abc"]
tasks = [dataclasses.replace(first, own_head=True), *others, STARS]
on_devices.OUTPUTS |= {{n: Output(3, ("x", "y", "z")) for n in "abc"}}
compare(configuration("linear", "upgrad"), tasks, [MAPPED, {{"task": 2, "data": 4}}])
strategy = GradientsConfig(strategy="representation")
config = configuration("linear", "imtl_g", gradients=strategy)
compare(config, tasks[:3], [MAPPED], together=("a", "b", "c"))
print("same")
""")
    assert printed == "same\n"


def test_shared_inputs_and_a_recurrent_encoder(on_eight_devices: Callable[[str], str]):
    printed = on_eight_devices(f"""{START}
tasks, together = [LABEL, TAGS, NEXT], ("label", "tags", "next")
full = HeadsConfig(("mean",), negatives=0, tag_hidden=4)
compare(configuration("lstm", "imtl_g", heads=full), tasks, [MAPPED], together)
strategy = GradientsConfig(strategy="representation")
compare(configuration("linear", "imtl_g", gradients=strategy), tasks[:2], [MAPPED], together)
print("done")
""")
    assert printed == "done\n"


@pytest.mark.exhaustive
def test_kinds_of_methods(on_eight_devices: Callable[[str], str]):
    """Losses alone (and a decoder), losses after the step, a Gramian, an aggregator, batches.

    The language model draws negatives, the same on all devices.
    """
    printed = on_eight_devices(f"""{START}
placed = {{"task": 2, "data": 4}}
compare(configuration("linear", decoder=1), [LABEL, REPLY], [PMAPPED])
(found,) = compare(configuration("linear", "famo"), [LABEL, NEXT], [MAPPED])
tasks = [LABEL, STARS]
compare(configuration("linear", "imtl_g", accumulate=2), tasks, [placed])
(found,) = compare(configuration("linear", "moco"), tasks, [placed])
tracked = found[1].optimizer.weighting.tracked["embedding"]["words"]
print(tracked.sharding.spec, tracked.addressable_shards[0].data.nbytes / tracked.nbytes)
# The parameters that a run begins with do not depend on the devices either.
config = configuration("linear", "modo", average=0.9, ngrams=2)
compare(config, tasks, [{{**placed, "sharding": "fsdp"}}], init=init)
""")
    assert printed == "P(None, ('data', 'task')) 0.125\n"


@pytest.mark.exhaustive
def test_weights_of_the_step_before(on_eight_devices: Callable[[str], str]):
    printed = on_eight_devices(f"""{START}
tasks = [LABEL, STARS]
lagged = GradientsConfig(strategy="lagged")
compare(configuration("linear", "imtl_g", gradients=lagged), tasks, [MAPPED])
sketched = GradientsConfig(strategy="sketched", sketch=64)
compare(configuration("linear", "imtl_g", gradients=sketched), tasks, [JIT])
print("done")
""")
    assert printed == "done\n"


def test_a_checkpoint_goes_from_one_device_to_eight_and_back(
    on_eight_devices: Callable[[str], str], tmp_path
):
    config = configuration("linear", "moco", average=0.9)
    model = make(config, (LABEL, STARS))
    batches = batches_for(config, model)
    _, state, *_ = run(config, model, batches)
    checkpoints = Checkpoints(tmp_path / "one", pytest.fail)
    checkpoints.save(2, state, {"next_index": 2}, {}, 0.5)
    checkpoints.close()
    printed = on_eight_devices(f"""{START}
from pathlib import Path
from mtljax.training.persistence.checkpoints import Checkpoints

config = configuration("linear", "moco", average=0.9)
config = dataclasses.replace(
    config, parallel=ParallelConfig(task=2, data=4, sharding="fsdp"))
model = make(config, [LABEL, STARS])
batch = batches_for(config, model)[0]
devices = distribute(config, model, make_method(config, 2), OPTIMIZER, batch[0])
there = Checkpoints(Path({str(tmp_path / "one")!r}), print)
step, state, progress = there.latest(devices.init(batch[0]))
there.close()
print(step, progress["position"])
print(jax.tree.all(jax.tree.map(lambda x, y: x.sharding == y, state, devices.state)))
words = state.params["shared"]["embedding"]["words"]
print(words.addressable_shards[0].data.shape, words.shape)
back = Checkpoints(Path({str(tmp_path / "eight")!r}), print)
back.save(step, state, progress["position"], {{}}, 0.5)
back.close()

# A group that sits a step out has one row, which is empty.
placed = devices.place({{"of_label": {{"tokens": np.zeros((1, 6), np.int32)}}}})
print(placed["of_label"]["tokens"].shape)
""")
    assert printed.splitlines() == ["2 {'next_index': 2}", "True", "(2, 8) (16, 8)", "(4, 6)"]
    checkpoints = Checkpoints(tmp_path / "eight", pytest.fail)
    restored = checkpoints.latest(state)
    assert restored is not None
    step, found, progress = restored
    checkpoints.close()
    assert step == 2 and progress["position"] == {"next_index": 2}
    assert_same(jax.device_get(found), jax.device_get(state), rtol=0, atol=0)
    assert all(len(leaf.sharding.device_set) == 1 for leaf in jax.tree.leaves(found))
    # Committed to its device too, so that a run that continues has the program it began with.
    assert all(leaf.committed for leaf in jax.tree.leaves((found, state)))


def test_what_cannot_be_shared_out(on_eight_devices: Callable[[str], str]):
    """Each is an error in one line."""
    printed = on_eight_devices(f"""{START}
from mtljax.errors import UserError
from mtljax.training.distributed import check_stages
from tests.training.test_distributed import attempt

def error(**settings):
    try:
        return attempt(**settings).about
    except UserError as error:
        return str(error)

four = (LABEL, TAGS, NEXT, STARS)
shared = dict(tasks=four, together=("label", "tags", "stars"), task=4, data=2)
print(error(task=8))
print(error(**shared))
print(error(**shared, placement="task"))
print(error(task=2, data=4, placement="task", strategy="shard_map"))
print(error(task=2, data=4, placement="task", gradients="lagged"))
print(error(task=2, data=4, gradients="lagged"))
print(error(task=2, data=4, weighting="equal"))
print(error(task=2, data=4, placement="off"))
print(error(task=2, data=4, placement="off", exchange="float32"))
print(error(exchange="bfloat16"))
print(error(data=8, sharding="fsdp", strategy="pmap"))
print(error(data=4, model=2, strategy="shard_map"))
print(error(data=8, rules=("wordz=data",)))
devices = attempt(data=8)
for stage in ({{"of_label": 8}}, {{"of_label": 12}}):
    try:
        check_stages(devices, [stage])
    except UserError as error:
        print(error)
try:
    devices.place(fill(abstract_batch(make(configuration("linear"), [LABEL]).layout,
                                      {{"of_label": 12}}), np.random.default_rng(0)))
except UserError as error:
    print(error)
""")
    mesh = "task 2 x data 4 x model 1 devices, jit, replicated; all tasks on all devices: "
    assert printed.splitlines() == [
        "parallel: a task axis of 8 does not divide 2 tasks",
        "task 4 x data 2 x model 1 devices, jit, replicated; all tasks on all devices: "
        "1 input groups of 3 tasks cannot be divided among 4 devices of the task axis",
        "parallel: placement 'task': 1 input groups of 3 tasks cannot be divided among 4 devices "
        "of the task axis",
        "parallel: placement 'task': strategy 'shard_map' has no axis of tasks",
        "parallel: placement 'task': gradients.strategy 'lagged' never holds the gradients of "
        "all tasks",
        f"{mesh}gradients.strategy 'lagged' never holds the gradients of all tasks",
        f"{mesh}weighting 'equal' reads no gradients",
        f"{mesh}as asked for",
        "parallel: exchange 'float32': no tasks are on groups of devices: as asked for",
        "parallel: exchange 'bfloat16': no tasks are on groups of devices: there is one device",
        "parallel: strategy 'pmap': the state must be replicated",
        "parallel: strategy 'shard_map': the axis 'model' must have one device",
        "parallel: rule 'wordz' is found in the path of no parameter",
        "parallel: the batch of input group 'of_label' has 12 rows, which cannot be divided among "
        "8 devices; --batch.multiple 8 makes all divide",
        "parallel: of_label/affixes: 12 rows cannot be divided by 8",
    ]


def attempt(
    tasks=(LABEL, TAGS), weighting="mgda", together=(), gradients=None, devices=None, **parallel
):
    config = configuration("linear", weighting, ngrams=2)
    if gradients:
        config = dataclasses.replace(
            config, gradients=dataclasses.replace(config.gradients, strategy=gradients)
        )
    config = dataclasses.replace(config, parallel=ParallelConfig(**parallel))
    model = make(config, tasks, together)
    method = make_method(config, len(tasks))
    batch = abstract_batch(model.layout)
    return distribute(config, model, method, OPTIMIZER, batch, devices)


def test_runs_of_other_seeds_are_the_same_program():
    texts = []
    for seed in (0, 2**32 - 1):
        config = dataclasses.replace(configuration("linear", "equal"), seed=seed)
        model = make(config, (LABEL,), ())
        batch = abstract_batch(model.layout)
        made = distribute(config, model, make_method(config, 1), OPTIMIZER, batch)
        state = jax.eval_shape(made.init, batch)
        texts.append((made.init.lower(batch).as_text(), made.step.lower(state, batch).as_text()))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("sizes", [{"data": 2}, {"task": 3}, {"model": 2, "data": 4}])
def test_a_mesh_that_does_not_multiply(sizes):
    with pytest.raises(UserError, match="^parallel: a mesh of task .* multiply to 1 devices$"):
        attempt(**sizes)


def test_one_device_has_no_mesh():
    found = attempt()
    assert found.mesh is None and found.about == "" and found.evaluated("params") == "params"
    check_stages(found, [{"of_label": 7}])


@pytest.mark.parametrize(
    ("removed", "ending"),
    [
        ((), ": the axis of tasks has one device"),
        (
            ("vocabulary",),
            "; replicated, as no rule covers them: shared/embedding/affixes, "
            "shared/embedding/words, shared/linear/ngrams_2",
        ),
        (
            ("vocabulary", "task_head"),
            "; replicated, as no rule covers them: heads/label/out/bias, heads/label/out/kernel, "
            "heads/tags/hidden/bias and 6 more",
        ),
    ],
)
def test_parameters_without_a_sharding_rule_are_named(monkeypatch, removed, ending):
    for name in removed:
        monkeypatch.delitem(rules.AXIS_RULES, name)
    assert attempt(devices=jax.devices()).about.endswith(ending)


def test_frozen_parameters(on_eight_devices: Callable[[str], str]):
    """Rows split by the program itself or by XLA; the optimizer has no moments of the embedding."""
    printed = on_eight_devices(f"""{START}
config = configuration("linear", "imtl_g", ngrams=2)
frozen = dataclasses.replace(config.optimizer, frozen=("^shared/embedding/", "^heads/stars/"))
config = dataclasses.replace(config, optimizer=frozen)
found = compare(config, [LABEL, STARS], [MAPPED, {{"task": 2, "data": 4, "sharding": "fsdp"}}])
for devices, state, *_ in found:
    moments = state.optimizer.optimizer[1][0].trace
    print(moments["shared"]["embedding"], list(moments["heads"]["stars"]["out"].values()))
print(found[1][0].about.rpartition(": ")[2])
""")
    assert printed.splitlines() == [
        "{'affixes': None, 'words': None} [None, None]",
        "{'affixes': None, 'words': None} [None, None]",
        "some parameters are frozen",
    ]


@pytest.mark.exhaustive
def test_tables_by_rows(on_eight_devices: Callable[[str], str]):
    """Rows of a batch are on eight devices, rows of a table on two."""
    printed = on_eight_devices(f"""{START}
import pytest
from mtljax.gradients import tables

heads = HeadsConfig(("mean",), negatives=0)
config = configuration("linear", "imtl_g", heads=heads, ngrams=2)
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tables, "_MIN_SIZE", 1)
    patch.setattr(tables, "_MIN_ROWS_PER_LOOKUP", 0)
    compare(config, [LABEL, NEXT, STARS], [{{"data": 4, "model": 2}}])
print("done")
""")
    assert printed == "done\n"


@pytest.mark.exhaustive
def test_gradients_of_groups_of_devices_travel_half_as_wide(on_eight_devices: Callable[[str], str]):
    """What they bring about is the same to the precision of their way, on every device."""
    printed = on_eight_devices(f"""{START}
tasks = [Task(n, n, "classification", "text", "label") for n in "abcd"]
OUTPUTS |= {{n: Output(3, ("x", "y", "z")) for n in "abcd"}}
config = configuration("linear", "upgrad")
model = make(config, tasks)
batches = batches_for(config, model, 1)
groups = {{"task": 4, "data": 2, "placement": "task"}}
found = []
with drawn_by(draw):
    for exchange in ("float32", "bfloat16", "auto"):
        devices, state, _, text = run(config, model, batches, **groups, exchange=exchange)
        assert devices.task_parallel
        for leaf in jax.tree.leaves(state.params):
            copies = [np.asarray(shard.data) for shard in leaf.addressable_shards]
            assert all(np.array_equal(copy, copies[0]) for copy in copies)
        found.append(jax.device_get(state.params["shared"]))
    first = jax.device_get(devices.init(batches[0][0]).params["shared"])
size = lambda tree: float(optax.tree.norm(tree))
moved = jax.tree.map(np.subtract, found[0], first)
error = jax.tree.map(np.subtract, found[1], found[0])
assert 0 < size(error) < 1e-2 * size(moved), (size(error), size(moved))
assert_same(found[2], found[0], rtol=0, atol=0)
print("same")
""")
    assert printed == "same\n"


@pytest.mark.exhaustive
def test_private_parameters_and_experts(on_eight_devices: Callable[[str], str]):
    """Rows of all tasks are on all devices, since tasks cannot be on groups of them."""
    printed = on_eight_devices(f"""{START}
from mtljax.errors import UserError
from mtljax.modules import SharingConfig

def sharing(kind, **fields):
    config = configuration(kind, "imtl_g")
    return dataclasses.replace(config, sharing=SharingConfig(**fields))

lora = sharing("transformer", structure="lora", parts="both", rank=2)
split = {{"data": 2, "model": 2, "task": 2, "sharding": "fsdp"}}
found = compare(lora, [LABEL, TAGS], [MAPPED, split])
print(found[1][0].about.rpartition(": ")[2])
ple = sharing("lstm", structure="ple", experts=2, width=3)
compare(ple, [LABEL, STARS], [JIT, {{"task": 2, "data": 4, "placement": "task"}}])
try:
    config = dataclasses.replace(
        lora, parallel=ParallelConfig(task=2, data=4, placement="task"))
    model = make(config, [LABEL, TAGS])
    batch = abstract_batch(model.layout)
    distribute(config, model, make_method(config, 2), OPTIMIZER, batch)
except UserError as error:
    print(error)
""")
    assert printed.splitlines() == [
        "the axis of features has several devices",
        "parallel: placement 'task': tasks have private parameters in the encoder",
    ]
