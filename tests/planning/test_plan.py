"""Plans against formulas, on eight devices that nothing is run on."""

import importlib.util
from collections.abc import Callable

import pytest

TASKS = """
import dataclasses, json, os
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
from mtljax.planning import Assumed
from mtljax.modules import EncoderConfig, HeadsConfig
from mtljax.parallel import exchanged_bytes
from mtljax.presets import BatchConfig, Config, OptimizerConfig, ParallelConfig
from mtljax.data.tokenizers import TokenizerSettings
from mtljax.tasks import Task
from mtljax.planning.plan import layout_of, plan, read_topology
from mtljax.planning.search import largest_batch, make_fit

tasks = [Task(f"t{i}", f"d{i}", "classification", "text", "label") for i in range(2)]
config = Config(
    tokenizer=TokenizerSettings(kind="byte"),
    batch=BatchConfig(tokens=512, row_length=16, multiple=8),
    encoder=EncoderConfig("linear", embedding=16, features=16, ngram_buckets=64, ngrams=1),
    heads=HeadsConfig(pooling=("mean",)),
    optimizer=OptimizerConfig(average=0.0),
)
layout = layout_of(config, tasks, Assumed(classes=3))

def of(**settings):
    given = {"weighting": "mgda", **settings}
    parallel = ParallelConfig(**given.pop("parallel"))
    return dataclasses.replace(config, parallel=parallel, **given)

PLACED = {"task": 2, "data": 0}
"""


def test_what_a_plan_says(on_eight_devices: Callable[[str], str]):
    printed = on_eight_devices(f"""{TASKS}
topology, devices = read_topology("8")
placed = plan(of(parallel=PLACED), layout, topology, devices)
size = 4 * placed.shared_parameters
sent = placed.collective_bytes
moved = sum(n for kind, n in sent.items() if kind != "all-reduce")
# What does not divide is filled up, and stays whole.
print(placed.placement, placed.mesh, placed.tokens)
print(abs(moved / exchanged_bytes(size, 2, 2, 4) - 1) < 0.02, size > 5000)
print(sum(sent.values()) == placed.collective_bytes_total, placed.roofline_seconds)
# Parameters whole, two moments in parts; batch and heads are small.
print(1.2 < placed.argument_bytes / size < 1.6, placed.fits, placed.hbm_limit)

plain = plan(of(weighting="equal", parallel={{"data": 8}}), layout, topology, devices)
print(plain.placement, 3 < plain.argument_bytes / size < 3.4)

# Spread over the devices, and then in smaller batches, it fits.
limit = plain.hbm_bytes_per_device - 1
tight = plan(of(weighting="equal", parallel={{"data": 8}}), layout, topology, devices, limit)
print(tight.fits, tight.hbm_bytes_per_device > tight.hbm_limit == limit)
trials = make_fit(
    of(weighting="equal", parallel={{"data": 8}}), layout, topology, devices, limit)
print(trials[-1].options[:2], trials[-1].plan.fits, [one.plan.fits for one in trials[:-1]])
larger = largest_batch(
    of(weighting="equal", parallel={{"data": 8}}), layout, topology, devices, 2 * limit)
print(larger[0].options, [one.plan.tokens for one in larger][:1])
""")
    assert printed.splitlines() == [
        "task {'task': 2, 'data': 4, 'model': 1} 512",
        "True True",
        "True None",
        "True True None",
        "off True",
        "False True",
        "('--parallel.sharding', 'fsdp') True []",
        "('--batch.tokens', '1024') [1024]",
    ]


def test_steps_whose_gradients_are_measured_count(on_eight_devices: Callable[[str], str]):
    printed = on_eight_devices(f"""{TASKS}
from mtljax.planning import measured_text
from mtljax.presets import GradientsConfig

def planned(devices, telemetry, every, **settings):
    gradients = GradientsConfig(telemetry=telemetry, telemetry_every=every)
    settings = {{"weighting": "equal", "parallel": {{"data": 0}}, **settings}}
    return plan(of(gradients=gradients, **settings), layout, *read_topology(devices))

for devices in ("1", "8"):
    plain, measured = planned(devices, False, 1), planned(devices, True, 1)
    mixed = planned(devices, True, 4)
    flops = (3 * plain.flops_per_device + measured.flops_per_device) / 4
    sent = (3 * plain.collective_bytes_total + measured.collective_bytes_total) / 4
    print(plain.measured_every, measured.measured_every, mixed.measured_every)
    print(measured.flops_per_device > plain.flops_per_device == plain.flops_per_device)
    print(abs(mixed.flops_per_device / flops - 1) < 1e-12, mixed.measured_flops_per_device
          == measured.flops_per_device)
    print(abs(mixed.collective_bytes_total - sent) < 8, mixed.measured_collective_bytes_total
          == measured.collective_bytes_total)
    needed = max(plain.hbm_bytes_per_device, measured.hbm_bytes_per_device)
    print(mixed.hbm_bytes_per_device == needed)
    ratio = measured.flops_per_device / plain.flops_per_device
    print(f"in 4 measures gradients: {{ratio:.2f}} times" in measured_text(mixed))
# What reads gradients anyway has one step.
print(planned("1", True, 4, weighting="mgda").measured_every, repr(measured_text(plain)))
""")
    one = ["0 0 4", "True", "True True", "True True", "True", "True"]
    assert printed.splitlines() == [*one, *one, "0 ''"]


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="the extra mtljax[tpu] (libtpu) is not installed",
)
def test_a_tpu_sends_what_the_formula_says(on_eight_devices: Callable[[str], str]):
    printed = on_eight_devices(f"""{TASKS}
# Parts that fill whole tiles: a scatter of smaller ones is an all-reduce to this compiler.
wide = EncoderConfig("linear", embedding=256, features=256, ngram_buckets=8192)
config = dataclasses.replace(config, encoder=wide)
layout = layout_of(config, tasks, Assumed(classes=3))
topology, devices = read_topology("v5e:2x4")
found = plan(of(parallel=PLACED), layout, topology, devices)
size = 4 * found.shared_parameters
moved = sum(n for kind, n in found.collective_bytes.items() if kind != "all-reduce")
print(abs(moved / exchanged_bytes(size, 2, 2, 4) - 1) < 0.01)
print(found.fits, found.hbm_limit == round(15.75 * 2**30), found.roofline_seconds > 0)
""")
    assert printed.splitlines() == ["True", "True True True"]
