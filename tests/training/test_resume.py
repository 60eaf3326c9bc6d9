"""A run that was cut off ends as if it had not been."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from rich.console import Console

from mtljax.errors import Preempted
from mtljax.modules import EncoderConfig, HeadsConfig
from mtljax.presets import BatchConfig, Config, OptimizerConfig, dump_config
from mtljax.tasks import Task, dump_tasks
from mtljax.training import train
from mtljax.training.persistence.checkpoint_digests import read_score
from mtljax.training.persistence.checkpoints import Checkpoints, checkpoint_steps
from mtljax.training.reporting.metrics_file import read_metrics
from mtljax.training.reporting.time_account import NAME, PARTS
from tests.run_metrics import without_times


@pytest.fixture
def saved(monkeypatch):
    """The states that are saved, by step; `saved.interrupt` says whether to stop after one."""

    class Saved(dict):
        interrupt = staticmethod(lambda step: False)

    found = Saved()
    original = Checkpoints.save

    def save(self, step, state, *args):
        found[step] = jax.device_get(state)
        original(self, step, state, *args)
        if found.interrupt(step):
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", save)
    return found


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and x.tobytes() == y.tobytes()


def check_account(directory, account):
    """Check that the account of a run that was interrupted has all of its time, and adds up."""
    lines = [
        {
            name.removeprefix("seconds/"): v
            for name, v in line.items()
            if name.startswith("seconds/")
        }
        for line in read_metrics(directory)
    ]
    for parts in (*lines, account):
        assert set(parts) == {"wall", *PARTS} and min(parts.values()) >= 0
        assert sum(parts[name] for name in PARTS) == pytest.approx(parts["wall"], abs=0.01)
    walls = [line["wall"] for line in lines]
    assert walls == sorted(walls) and account["wall"] >= walls[-1]
    for name in ("productive", "compiling", "checkpoint", "evaluation"):
        assert account[name] > 0
    times = [json.loads(line) for line in (directory / NAME).read_text().splitlines()]
    starts = [line["start"] for line in times if "start" in line]
    assert starts == sorted(starts) and len(times) == 3 * len(starts) - 1
    whole = times[-1]["time"] - starts[0]
    assert account["wall"] == pytest.approx(whole, rel=0.01, abs=0.1)


def results(summary):
    return {name: summary[name] for name in ("steps", "best_step", "tasks")}


def short(config, method):
    """Of a linear encoder; its checkpoints fall into the middle of an accumulated gradient."""
    optimizer = dataclasses.replace(config.optimizer, accumulate=3)
    encoder = dataclasses.replace(config.encoder, kind="linear", ngram_buckets=32)
    spikes = "skip" if method == "random" else "keep"  # what is usual is part of the state
    settings = {"weighting": method, "log_every": 5, "loss_spikes": spikes}
    return dataclasses.replace(config, encoder=encoder, optimizer=optimizer, **settings)


@pytest.fixture(scope="module")
def finished():
    """By method, the runs that nothing stopped: their directory, summary and saved states."""
    return {}


@pytest.fixture
def uninterrupted(finished, tmp_path, saved):
    """Trains a run of `short`, once a method."""

    def run(config, chosen):
        if config.weighting not in finished:
            whole = tmp_path / "whole"
            summary = train(config, chosen, whole)
            finished[config.weighting] = whole, summary, dict(saved)
            saved.clear()
        return finished[config.weighting]

    return run


@pytest.mark.parametrize(
    "method, stops, damage",
    [
        ("random", (4, 8, 12), 8),
        ("modo", (4,), None),
        ("forum", (4,), None),
    ],
)
def test_interrupted_after_checkpoints(
    tiny, config, tasks, tmp_path, saved, uninterrupted, capsys, method, stops, damage
):
    # These methods read every kind of batch there is, a second one and one of validation, whose
    # order must go on too; the state of the last has a row of each task for every parameter.
    # Checkpoints fall into the middle of a line of metrics too.
    config = short(config, method)
    chosen = (tasks["label"], tasks["number"])
    whole, summary, expected = uninterrupted(config, chosen)
    assert sorted(expected) == [4, 8, 12]
    parts, console = tmp_path / "parts", Console(width=300)
    for stop in stops:
        saved.interrupt = lambda step, stop=stop: step == stop
        with pytest.raises(KeyboardInterrupt):
            train(config, chosen, parts, console=console)
        if stop == damage:
            truncate(parts / f"checkpoints/{damage}/state")
    assert not (parts / "summary.json").exists()
    saved.interrupt = lambda step: False
    again = train(config, chosen, parts, console=console)

    for step, state in expected.items():
        assert_same_bits(saved[step], state)
    assert without_times(parts) == without_times(whole)
    assert results(again) == results(summary)
    check_account(parts, again["account"])
    assert train(config, chosen, parts) == again  # complete: left as it is
    shown = capsys.readouterr().out
    assert shown.count("continuing from step 4") == (2 if damage else 1)
    if damage:
        assert "checkpoint 8 cannot be read, moved to 8.broken" in shown


def test_more_steps_are_those_of_a_run_of_as_many(tiny, config, tasks, tmp_path, saved):
    # The rate is constant, so that it does not depend on how many there are.
    config = short(config, "equal")
    optimizer = dataclasses.replace(config.optimizer, schedule="constant", accumulate=1)
    config = dataclasses.replace(config, optimizer=optimizer, log_every=4)
    chosen = (tasks["label"],)
    summary = train(config, chosen, tmp_path / "whole")
    expected = dict(saved)
    saved.clear()
    first = train(dataclasses.replace(config, steps=8), chosen, tmp_path / "parts")
    again = train(config, chosen, tmp_path / "parts")
    assert first["steps"] == 8 and again["steps"] == 12
    assert json.loads((tmp_path / "parts/summary-8.json").read_text()) == first
    for step, state in expected.items():
        assert_same_bits(saved[step], state)
    assert without_times(tmp_path / "parts") == without_times(tmp_path / "whole")
    assert results(again) == results(summary)


def test_a_run_that_is_told_to_stop(tiny, config, tasks, tmp_path, saved, uninterrupted, capsys):
    config = short(config, "random")
    chosen = (tasks["label"], tasks["number"])
    _, _, expected = uninterrupted(config, chosen)
    parts, asked = tmp_path / "parts", []
    with pytest.raises(Preempted, match="^nothing was to be saved yet$"):
        train(config, chosen, parts, preempted=lambda step: True)
    # At a step that is saved anyway, and at one that is not.
    for stop in (4, 6):
        with pytest.raises(Preempted, match=f"^step {stop} is saved$"):
            train(config, chosen, parts, preempted=lambda step, stop=stop: step == stop)
    assert checkpoint_steps(parts / "checkpoints") == [4, 6]
    measured, unmeasured = (read_score(parts / "checkpoints", step) for step in (4, 6))
    assert measured is not None and unmeasured is not None and unmeasured < min(measured, 0)
    assert not (parts / "summary.json").exists()
    train(
        config,
        chosen,
        parts,
        console=Console(width=300),
        preempted=lambda step: asked.append(step) or False,
    )
    assert "continuing from step 6" in capsys.readouterr().out
    assert asked == [6, 7, 8, 9, 10, 11]
    assert_same_bits(saved[12], expected[12])


def truncate(directory):
    for file in directory.rglob("*"):
        if file.is_file():
            os.truncate(file, file.stat().st_size // 2)


KILLED = (
    Config(
        preset="killed",
        steps=120,
        evaluate_every=10,
        log_every=3,
        batch=BatchConfig(tokens=768, row_length=24),
        encoder=EncoderConfig("linear", embedding=4, ngram_buckets=32, dropout=0.3),
        heads=HeadsConfig(negatives=16),
        optimizer=OptimizerConfig(warmup_steps=5),
    ),
    (
        Task("label", "amazon_sentiment", "classification", "text", "label"),
        Task("next", "amazon_sentiment", "language_model", "text", max_length=8),
    ),
)

CHILD = """
import sys
from pathlib import Path
from mtljax.presets import parse_config
from mtljax.tasks import load_tasks
from mtljax.training import train
here = Path(sys.argv[1])
config = parse_config((here / "config.yaml").read_text())
train(config, load_tasks(here / "tasks.yaml"), here / "run")
"""


@pytest.mark.exhaustive
def test_killed_at_any_moment(tmp_path, saved):
    config, chosen = KILLED
    (tmp_path / "config.yaml").write_text(dump_config(config))
    (tmp_path / "tasks.yaml").write_text(dump_tasks(chosen))
    summary = train(config, chosen, tmp_path / "whole")
    expected = dict(saved)
    saved.clear()

    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while child.poll() is None and len(read_metrics(tmp_path / "run")) < 12:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(random.uniform(0, 1))
    child.send_signal(signal.SIGKILL)
    _, errors = child.communicate()
    assert child.returncode in (-signal.SIGKILL, 0), errors.decode()
    finished = (tmp_path / "run/summary.json").exists()  # on a machine that was quick enough

    again = train(config, chosen, tmp_path / "run")
    assert results(again) == results(summary)
    assert without_times(tmp_path / "run") == without_times(tmp_path / "whole")
    if not finished:
        assert min(saved, default=config.steps) > 10  # it went on, not from the beginning
        for step, state in saved.items():
            assert_same_bits(state, expected[step])
    assert json.loads((tmp_path / "run/summary.json").read_text()) == again
    leftovers = [p.name for p in (tmp_path / "run/checkpoints").iterdir() if "tmp" in p.name]
    assert not leftovers
