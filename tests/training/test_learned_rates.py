"""Rates that are learned in a run: from which signals, and resumed to the last bit."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from mtljax import mixtures
from mtljax.data.batching.mixture import MixtureSettings
from mtljax.errors import Preempted, UserError
from mtljax.modules.config import SharingConfig
from mtljax.presets import GradientsConfig
from mtljax.solvers import UnitGramian
from mtljax.step.state import StepMetrics
from mtljax.training import learned_rates, train
from mtljax.training.extended_run import extension_config
from mtljax.training.learned_rates import LearnedRates, check_mixture
from mtljax.training.persistence import run_directory
from tests.run_metrics import without_times


@pytest.fixture
def chosen(tasks):
    """Two tasks that read the same texts, and one that reads them cut: two input groups."""
    return (
        dataclasses.replace(tasks["label"], weight=2.0),
        tasks["grade"],
        dataclasses.replace(tasks["number"], max_length=5),
    )


@pytest.fixture
def learner(make, unaveraged, chosen):
    """From settings of the mixture to what learns, and its data."""

    def build(**settings):
        config = dataclasses.replace(
            unaveraged, mixture=MixtureSettings(**{"every": 4, "floor": 0.2, **settings})
        )
        _, data = make(config, chosen)
        return LearnedRates(config, data), data, config

    return build


def metrics_of(seed, present=(1, 1, 1), gradients=True):
    random = np.random.default_rng(seed)
    rows, halves = random.normal(size=(2, 3, 8)).astype(np.float32)
    norms = np.linalg.norm(rows, axis=1)
    count = np.array(present, np.float32)
    return StepMetrics(
        losses=random.uniform(0.5, 1.5, 3).astype(np.float32),
        weights=count,
        present=count,
        penalty=np.float32(0),
        gradient_norm=np.float32(1),
        not_finite=np.zeros(3, np.float32),
        updated=np.float32(1),
        skipped=np.float32(0),
        gradients=UnitGramian(rows @ rows.T / np.outer(norms, norms), norms) if gradients else None,
        noise=halves @ halves.T if gradients else None,
    )


MEMBER = np.array([[1, 1, 0], [0, 0, 1]])
WEIGHTS = np.array([[2.0, 1, 0], [0, 0, 1]])


def test_signals_are_those_of_the_groups(learner):
    rates, data, _ = learner(schedule="balanced_pike", target="")
    given = [metrics_of(seed, (1, 1, 0) if seed % 2 else (0, 0, 1)) for seed in range(3)]
    given.append(metrics_of(3))
    for number, metrics in enumerate(given, 1):
        rates.read(number, metrics)
    last, names = given[-1], [group.name for group in data.groups]
    losses = np.stack([m.losses for m in given])
    present = np.stack([m.present for m in given]).astype(bool)
    means = np.array([losses[present[:, i], i].mean() for i in range(3)])
    assert last.gradients is not None and last.noise is not None
    gramian = last.gradients.cosines * np.outer(last.gradients.norms, last.gradients.norms)
    # Of groups with n rows, h in the first half, of steps of b.
    rows = np.array([data.stages[0][name] for name in names])
    halves = np.ceil(rows / 2)
    noise = np.diagonal(MEMBER @ last.noise @ MEMBER.T) * halves / (rows - halves)
    signals = {
        "losses": WEIGHTS @ means,
        "gramian_diagonal": np.maximum(np.diagonal(MEMBER @ gramian @ MEMBER.T) - noise, 0),
        "variances": noise * rows / rows.mean(),
    }
    schedule = mixtures.balanced_pike(floor=0.2)
    first = data.rates()
    expected, _ = schedule.update(signals, schedule.init(2, [first[name] for name in names]))
    logged = rates.logged()
    np.testing.assert_allclose(logged["rate/label"], expected[0], rtol=1e-5)
    np.testing.assert_allclose(logged["rate/number"], expected[1], rtol=1e-5)
    assert logged["rate/grade"] == logged["rate/label"]


@pytest.mark.parametrize("schedule", sorted(mixtures.SCHEDULES))
def test_any_schedule_resumes_to_the_last_bit(learner, schedule, monkeypatch):
    monkeypatch.setattr(learned_rates, "_reference_losses", lambda *_: np.array([0.9, 0.8, 0.7]))
    settings = {"schedule": schedule, "reference": "there" if schedule == "doremi" else ""}

    def go(rates, steps):
        for number in steps:
            alone = (1, 1, 0) if number % 3 else (0, 0, 1)
            whole = number % 4 == 0
            rates.read(number, metrics_of(number, (1, 1, 1) if whole else alone, whole))
            if number % 5 == 0:
                loss = {"loss": 2 + np.sin(number)}
                rates.evaluated(number, {"label": loss, "number": {"loss": 1 / number}})

    whole, _, _ = learner(**settings)
    go(whole, range(1, 10))
    saved = json.loads(json.dumps(whole.to_json(9)))
    go(whole, range(10, 40))
    again, _, _ = learner(**settings)
    again.resume(saved)
    go(again, range(10, 40))
    assert again.to_json(40) == whole.to_json(40)
    if schedule != "elimination":  # random gradients cost nothing
        assert saved["state"][0] != whole.to_json(40)["state"][0]


@pytest.mark.exhaustive
def test_a_run_goes_on_as_if_it_had_not_been_cut_off(tiny, unaveraged, chosen, drawn, tmp_path):
    config = dataclasses.replace(
        unaveraged,
        steps=30,
        evaluate_every=15,
        log_every=5,
        mixture=MixtureSettings(schedule="pike", every=5, step_size=2.0),
    )
    train(config, chosen, tmp_path / "whole")
    with pytest.raises(Preempted):
        train(config, chosen, tmp_path / "parts", preempted=lambda number: number == 22)
    train(config, chosen, tmp_path / "parts")
    whole, parts = (without_times(tmp_path / name) for name in ("whole", "parts"))
    # The cut adds a line of its own, over the steps since the last one.
    lines = [line for line in parts if line["split"] != "train" or line["step"] != 22]
    for one, other in zip(whole, lines, strict=True):
        if one["split"] == "train" and one["step"] == 25:  # of steps 23 to 25 alone
            one, other = (
                {n: v for n, v in line.items() if n.startswith(("rate", "epoch"))}
                for line in (one, other)
            )
        assert one == other
    rates = [line["rate/label"] for line in whole if "rate/label" in line]
    assert len(set(rates)) > 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "doge", "target": "labl"}, "mixture.target 'labl': unknown.*label"),
        ({"schedule": "pike", "target": "label"}, "'pike' learns rates for all groups"),
        ({"schedule": "off", "target": "label"}, "mixture.target: no rates are learned"),
        ({"schedule": "doremi"}, "needs mixture.reference"),
        ({"schedule": "doge", "reference": "x"}, "reads no mixture.reference"),
        ({"schedule": "doge", "subset": 2}, "reads fewer than all 2 input groups"),
        ({"schedule": "doge", "floor": 0.01}, "none of 12 steps, and so starve; make it 0.1667"),
        ({"schedule": "doge", "final_temperature": 2.0}, "change by themselves"),
    ],
)
def test_what_cannot_be_is_refused(learner, change, message):
    _, data, config = learner(schedule="doge")
    config = dataclasses.replace(config, mixture=dataclasses.replace(config.mixture, **change))
    if "final_temperature" in change:
        data = dataclasses.replace(data, stages=data.stages * 2)
    with pytest.raises(UserError, match=message):
        check_mixture(config, data, config.steps)


def test_what_does_not_suit_a_schedule_is_refused(learner, make, tasks, tmp_path, monkeypatch):
    _, data, config = learner(schedule="doge")
    check_mixture(config, data, 12)

    def refused(message, data=data, **change):
        with pytest.raises(UserError, match=message):
            check_mixture(dataclasses.replace(config, **change), data, 12)

    refused(
        "reads gradients, which gradients.strategy 'lagged'",
        gradients=GradientsConfig(strategy="lagged"),
    )
    refused("must be a multiple", gradients=GradientsConfig(telemetry=True, telemetry_every=3))
    refused("batch.workers", batch=dataclasses.replace(config.batch, workers=1))
    refused("there is one input group", data=make(config, (tasks["label"], tasks["grade"]))[1])
    noisy = dataclasses.replace(config.mixture, schedule="pike")
    compared = dataclasses.replace(config.mixture, schedule="doremi", reference="there")
    refused("doremi.*asp_mtl.*more in them", mixture=compared, sharing=SharingConfig("asp_mtl"))
    few = dataclasses.replace(data, stages=[dict.fromkeys(data.stages[0], 1)])
    refused("needs two rows", data=few, mixture=noisy)
    without = {name: {"train": splits["train"]} for name, splits in data.examples.items()}
    bandit = dataclasses.replace(config.mixture, schedule="exp3")
    refused(
        "no task has validation data",
        data=dataclasses.replace(data, examples=without),
        mixture=bandit,
    )
    summary = {"tasks": {"label": {"validation": {"loss": 1.0}}, "grade": {"validation": {}}}}
    for holds, message in ((None, "holds no finished run"), (summary, "no validation.*grade")):
        if holds:
            monkeypatch.setattr(run_directory, "read_summary", lambda directory: summary)
        reference = {"schedule": "doremi", "reference": str(tmp_path)}
        refused(message, mixture=dataclasses.replace(config.mixture, **reference))
    for wrong in ({"floor": 0.0}, {"step_size": 0.0}, {"every": 0}, {"schedule": "pika"}):
        with pytest.raises(UserError, match=f"mixture.{next(iter(wrong))}"):
            MixtureSettings(**wrong)


def test_settings_name_the_schedules_that_there_are():
    from typing import get_args, get_type_hints

    known = get_args(get_type_hints(MixtureSettings)["schedule"])
    assert set(known) == {"off", *mixtures.SCHEDULES}


def test_tasks_that_are_added_have_given_rates(learner):
    _, _, config = learner(schedule="doge", target="label")
    mixture = extension_config(config).mixture
    assert (mixture.schedule, mixture.target) == ("off", "")


def test_half_a_batch_has_every_other_row(learner):
    rates, data, _ = learner(schedule="pike", every=2)
    batch = next(data.training_batches(0, schedule=rates.groups, ahead=0))
    assert rates.half(1, batch) is None
    half = rates.half(2, batch)
    for name, rows in half.items():
        assert rows["tokens"] is batch[name]["tokens"]
        for whole, part in zip(
            *map(jax.tree.leaves, (batch[name]["weights"], rows["weights"])), strict=True
        ):
            np.testing.assert_array_equal(part[::2], whole[::2])
            assert not part[1::2].any()
