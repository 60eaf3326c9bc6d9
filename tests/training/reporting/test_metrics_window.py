import dataclasses
import time

import numpy as np
import pytest

from mtljax.step.extra import Extra
from mtljax.step.state import StepMetrics
from mtljax.training.inputs.device_prefetch import PrefetchedBatch
from mtljax.training.optimizer import learning_rate_schedule
from mtljax.training.reporting.metrics_window import MetricsWindow


@pytest.fixture
def window(make, plain, tasks):
    model, _ = make(plain, (tasks["label"], tasks["number"]))
    config = dataclasses.replace(
        plain, optimizer=dataclasses.replace(plain.optimizer, accumulate=2)
    )
    return MetricsWindow(model, learning_rate_schedule(config.optimizer, 10), config, 0, 10)


def metrics(
    losses, weights=(0.5, 0.5), present=(1, 1), penalty=0.0, norm=1.0, bad=(0, 0), skipped=0
):
    given = (losses, weights, present, penalty, norm, bad, 1 - skipped, skipped)
    return StepMetrics(*(None if x is None else np.asarray(x, np.float32) for x in given))


BATCH = PrefetchedBatch(None, Extra(), tokens=4, positions=8, rows=(2,))


def test_means_since_the_last_line(window):
    window.add(metrics([1.0, 4.0], penalty=0.5))
    window.add(metrics([3.0, 0.0], weights=(1, 0), present=(1, 0), norm=3.0))
    values = window.flush(2)
    assert values["loss/label"] == 2.0
    assert values["loss/number"] == 4.0  # of the one step in which it was there
    assert values["weight/label"] == 0.75 and values["weight/number"] == 0.25
    assert values["penalty"] == 0.25 and values["gradient_norm"] == 2.0
    window.add(metrics([0.0, 0.0], weights=(1, 0), present=(1, 0)))
    assert window.flush(3)["loss/number"] is None


def test_learning_rate_is_that_of_the_last_update(window, plain):
    optimizer = dataclasses.replace(plain.optimizer, accumulate=2)
    schedule = learning_rate_schedule(optimizer, 10)
    for step, update in ((1, 0), (2, 0), (4, 1), (5, 1), (10, 4)):
        window.add(metrics([0.0, 0.0]))
        found = window.flush(step)["learning_rate"]
        np.testing.assert_allclose(found, float(np.asarray(schedule(update))))


@pytest.mark.parametrize(
    "bad, expected",
    [
        (metrics([1.0, np.nan]), "the loss of task 'number' (nan)"),
        (metrics([np.inf, 1.0]), "the loss of task 'label' (inf)"),
        (metrics([1.0, 1.0], penalty=np.inf), "the penalty (inf)"),
        (metrics([1.0, 9.0], norm=np.nan), "the gradient (nan; largest loss: task 'number')"),
        (metrics([1.0, 9.0], norm=np.nan, bad=(1, 0)), "the gradient (nan; of task 'label')"),
    ],
)
def test_what_is_not_finite_is_named(window, bad, expected):
    assert window.add(bad) == f"{expected} is not finite"
    assert window.add(metrics([0.0, 0.0])) is None


def test_tokens_and_time_of_the_same_steps(window):
    # As the loop does: a batch is counted after the metrics of the step before were read.
    with window.waiting():
        time.sleep(0.01)
    window.dispatch(BATCH)
    window.count(BATCH)  # the first step is compilation
    for _ in range(3):
        time.sleep(0.002)
        window.dispatch(BATCH)
        window.add(metrics([0.0, 0.0]))
        window.count(BATCH)
    window.add(metrics([0.0, 0.0]))
    assert window.compile_seconds >= 0.01 and window.waited == 0
    assert window.tokens == 3 * 4 and window.positions == 3 * 8
    assert 0 < window.seconds < 10
    assert window.flush(4)["tokens_per_second"] == pytest.approx(12 / window.seconds, abs=0.1)
    assert window.seconds_left(4) == pytest.approx(window.seconds / 3 * 6)
    # The devices may work while the host waits: what the step takes longer than others is lost.
    before = window.seconds
    window.dispatch(BATCH)
    window.count(BATCH)
    with window.waiting():
        time.sleep(0.05)
    window.add(metrics([0.0, 0.0]))
    assert 0 < window.waited < window.seconds - before
    before = window.seconds
    with window.pause():
        during = window.seconds
        time.sleep(0.05)
    window.add(metrics([0.0, 0.0]))
    assert before <= during < before + 0.05 and window.seconds < before + 0.05


def test_each_step_that_is_compiled_counts_as_compilation(window):
    """Of the same shapes too: a run that measures some of its steps has two programs."""
    for number in range(1, 7):
        window.dispatch(BATCH, "measured" if number % 3 == 0 else "plain")
        time.sleep(0.002)
        window.count(BATCH)
        window.add(metrics([0.0, 0.0]))
    # The first of each kind; the other four are steps.
    assert window.tokens == 4 * 4 and window.compile_seconds >= 0.004


def test_what_is_not_finite_is_counted_where_the_run_goes_on(make, plain, tasks):
    model, _ = make(plain, (tasks["label"], tasks["number"]))
    config = dataclasses.replace(plain, non_finite="leave_out")
    window = MetricsWindow(model, learning_rate_schedule(config.optimizer, 10), config, 0, 10)
    assert window.add(metrics([1.0, np.nan], bad=(0, 1))) is None
    counts = "metrics.jsonl counts those after it"
    told = f"the loss of task 'number' (nan) is not finite, the task is left out; {counts}"
    assert window.left_out() == [told]
    assert window.add(metrics([3.0, 5.0], norm=np.inf, skipped=1)) is None
    assert not window.left_out()  # told once
    values = window.flush(2)
    assert values["loss/label"] == 2.0 and values["loss/number"] == 5.0
    assert values["not_finite/label"] == 0 and values["not_finite/number"] == 1
    assert values["skipped"] == 1 and values["gradient_norm"] == 1.0


def test_spikes_are_counted_or_stop_the_run(make, plain, tasks):
    model, _ = make(plain, (tasks["label"], tasks["number"]))
    schedule = learning_rate_schedule(plain.optimizer, 10)
    high = metrics([1.0, 9.0], skipped=1)._replace(spiked=np.asarray([0, 1], np.float32))
    stopping, skipping = (
        MetricsWindow(model, schedule, dataclasses.replace(plain, loss_spikes=policy), 0, 10)
        for policy in ("stop", "skip")
    )
    assert stopping.add(high) == "the loss of task 'number' (9.0) is a spike"
    assert skipping.add(high) is None
    (told,) = skipping.left_out()
    assert told.startswith("the loss of task 'number' (9.0) is a spike, the step is left out;")
    skipping.add(high._replace(spiked=np.zeros(2, np.float32), skipped=np.float32(0)))
    values = skipping.flush(2)
    assert (values["spikes/label"], values["spikes/number"], values["skipped"]) == (0, 1, 1)


def test_an_aggregator_has_no_weights(window):
    window.add(metrics([1.0, 2.0], weights=None))
    assert not [name for name in window.flush(1) if name.startswith("weight/")]
