"""The command, with what it prints and its exit codes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from mtljax.parallel import matmul_flops, peak_flops, traced_flops
from mtljax.planning import data_of
from mtljax.planning.measured import model_flops
from mtljax.presets import read_config
from mtljax.tasks import load_tasks
from mtljax.training.method import make_method
from tests.cli.conftest import LINEAR

TASKS = """\
tasks:
  sentiment:
    {dataset: amazon_sentiment, kind: classification, inputs: text, targets: label, loss: sigmoid}
  stars: {dataset: amazon_sentiment, kind: regression, inputs: text, targets: rating}
"""


@pytest.fixture
def tasks(tmp_path):
    path = tmp_path / "tasks.yaml"
    path.write_text(TASKS)
    return path


def test_steps_are_measured_and_nothing_is_written(mtljax, tasks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--tasks", tasks, *LINEAR, "--rounds", 2, "--round-steps", 2, "--warm-up", 1]
    code, out, err = mtljax("benchmark", *options, "--weighting", "equal,mgda", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.yaml"]
    assert (found["rounds"], found["steps"], found["warm_up"]) == (2, 2, 1)
    device = found["device"]
    assert (device["kind"], device["peak_from"]) == (jax.devices()[0].device_kind, "measured")
    assert [one["weighting"] for one in found["weightings"]] == ["equal", "mgda"]
    for one in found["weightings"]:
        assert 0 < one["tokens"] <= one["positions"] <= 512 and one["mesh"] == {}
        low, high = one["step_seconds_spread"]
        assert 0 < low <= one["step_seconds"] <= high
        rate = one["tokens"] / one["step_seconds"]
        assert one["tokens_per_second"] == pytest.approx(rate)
        assert one["tokens_per_second_spread"] == pytest.approx(
            [one["tokens"] / high, one["tokens"] / low]
        )
        used = one["model_flops"] / one["step_seconds"] / device["peak_flops"]
        assert one["mfu"] == pytest.approx(used) and one["mfu"] > 0
        assert one["memory_bytes_per_device"] > 64 * 8 * 4 * 3  # parameters with their moments
        assert one["compile_seconds"] > 0 and f"{one['weighting']}: " in err
    # A product of heads and features, forward and back, once more for each task's own gradient.
    equal, mgda = (one["model_flops"] for one in found["weightings"])
    assert equal <= mgda


def test_steps_whose_gradients_are_measured_are_measured_too(mtljax, tasks):
    def measured(*more):
        amount = ["--rounds", 2, "--round-steps", 1, "--warm-up", 1]
        code, out, err = mtljax("benchmark", "--tasks", tasks, *LINEAR, *amount, "--json", *more)
        assert code == 0, err
        assert ("one in 4 measures gradients" in err) == ("4" in map(str, more))
        return json.loads(out)["weightings"]

    telemetry = "--gradients.telemetry"
    plain = measured()[0]
    each = measured(telemetry, "--gradients.telemetry-every", 1)[0]
    some, mgda = measured(telemetry, "--gradients.telemetry-every", 4, "--weighting", "equal,mgda")
    assert (plain["measured_every"], plain["measured_step_seconds"]) == (0, None)
    assert (each["measured_every"], mgda["measured_every"]) == (0, 0)
    assert some["measured_every"] == 4 and some["measured_step_seconds"] > 0
    assert each["model_flops"] > plain["model_flops"]
    assert some["model_flops"] == pytest.approx(
        (3 * plain["model_flops"] + each["model_flops"]) / 4
    )
    memory = "memory_bytes_per_device"
    assert some[memory] == max(plain[memory], each[memory])
    between = (4 * some["step_seconds"] - some["measured_step_seconds"]) / 3
    assert between > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "0"], "rounds: must be at least 1 and at most 1000000, got 0"),
        (["--weighting", "equal,nosuch"], "weighting 'nosuch': unknown"),
        (["--mixture.schedule", "pike"], "steps of rates that are learned are not measured"),
        (["--optimizer.solver", "ridge"], "optimizer.solver 'ridge': makes no steps"),
    ],
)
def test_bad_input(refused, tasks, options, message):
    more = ["--round-steps", "1", "--warm-up", "1"]
    rounds = [] if "--rounds" in options else ["--rounds", "1"]
    assert message in refused("benchmark", "--tasks", tasks, *LINEAR, *more, *rounds, *options)


def test_model_flops_are_those_of_the_products_that_are_asked_for(tasks):
    encoder = {"kind": "transformer", "embedding": 8, "features": 8, "layers": 1, "heads": 2}
    encoder |= {"feed_forward": 16}
    settings = {"preset": "small", "batch": {"tokens": 64, "row_length": 32}, "encoder": encoder}
    config = read_config(settings)
    chosen = load_tasks(tasks)[1:]
    data = data_of(config, chosen)
    method = make_method(config, 1)
    flops = model_flops(config, data, method)
    again = dataclasses.replace(config.encoder, remat="full", attention="cudnn")
    assert model_flops(dataclasses.replace(config, encoder=again), data, method) == flops
    # Of each position four products of 8 x 8, two of 8 x 16, and two with the 32 others; back twice
    # as many. What is left is the head.
    layer = 3 * 64 * 2 * (4 * 8 * 8 + 2 * 8 * 16 + 2 * 32 * 8)
    assert layer < flops < 1.1 * layer


def test_loops_count_as_often_as_they_run():
    def f(a, n):
        looped = jax.lax.scan(lambda b, _: (b @ a, None), a, length=5)[0]
        return jax.lax.cond(n, lambda b: b @ b, lambda b: b @ b @ b, looped)

    a = jnp.ones((8, 8))
    product = 2 * 8**3
    assert traced_flops(jax.make_jaxpr(f)(a, True)) == 7 * product
    assert traced_flops(jax.make_jaxpr(f)(a, True), min) == 6 * product
    assert matmul_flops(jax.jit(f).lower(a, True).compile().as_text()) == 7 * product


def test_peaks_of_devices():
    class Device:
        def __init__(self, kind):
            self.device_kind = kind

    kinds = {"NVIDIA H200": 989, "NVIDIA A100-SXM4-40GB": 312, "TPU v5 lite": 197, "TPU v5": 459}
    for kind, teraflops in {**kinds, "TPU v6 lite": 918, "TPU v4": 275}.items():
        assert peak_flops(Device(kind)) == (teraflops * 1e12, "data sheet")
