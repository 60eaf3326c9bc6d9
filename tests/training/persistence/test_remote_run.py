"""Runs whose directory is of another scheme, cut at any file that is copied there."""

import dataclasses
import shutil
import warnings

import jax
import numpy as np
import pytest

from mtljax import copies
from mtljax.errors import Preempted, UserError
from mtljax.inference import load_run
from mtljax.training import train
from mtljax.training.persistence.checkpoints import checkpoint_steps
from mtljax.training.persistence.remote_run import run_settings, run_to_write
from tests.cli.conftest import mtljax as mtljax
from tests.fake_store import store as store
from tests.run_metrics import without_times
from tests.tiny_models import config as config
from tests.tiny_models import drawn as drawn
from tests.tiny_models import make as make
from tests.tiny_models import plain as plain
from tests.tiny_models import source as source
from tests.tiny_models import tasks as tasks
from tests.tiny_models import tiny as tiny

RUN = "s3://bucket/run"


def another_machine(monkeypatch, tmp_path, number):
    monkeypatch.setenv("MTLJAX_CACHE_DIR", str(tmp_path / f"machine{number}"))


def assert_same_run(one, other):
    first, second = load_run(one), load_run(other)
    assert first.step == second.step
    for a, b in zip(jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert without_times(one) == without_times(other)


@pytest.mark.exhaustive
def test_a_run_that_is_cut_at_any_file_ends_as_one_that_is_not(
    tiny, config, tasks, store, tmp_path, monkeypatch
):
    monkeypatch.setattr(copies, "_POLL", 0.01)
    config = dataclasses.replace(config, steps=6, evaluate_every=2)
    chosen = (tasks["label"], tasks["number"])
    whole = tmp_path / "whole"
    summary = train(config, chosen, whole)

    # A process that is killed copies some files, one of them in part, and no more.
    original, left = copies.shutil.copyfileobj, [0]

    def copyfileobj(read, written, *size):
        if not str(getattr(written, "name", "")).startswith(str(store)):
            original(read, written, *size)
            return
        left[0] -= 1
        if left[0] <= 0:
            written.write(read.read()[:20] if left[0] == 0 else b"")
            raise ConnectionError("gone")
        original(read, written, *size)

    cut = 0
    for number, files in enumerate((1, 3, 4, 6, 9, 14, 20, 28)):
        another_machine(monkeypatch, tmp_path, number)
        left[0] = files
        with monkeypatch.context() as patch:
            patch.setattr(copies.shutil, "copyfileobj", copyfileobj)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is tried again
                try:
                    train(config, chosen, RUN)
                except UserError as error:
                    assert "cannot be written (gone)" in str(error)
                    cut += 1
    assert cut >= 6  # each time something more is there
    another_machine(monkeypatch, tmp_path, "last")
    again = train(config, chosen, RUN)
    assert again["tasks"] == summary["tasks"]
    assert_same_run(whole, store / "bucket/run")
    # Read from there, by others.
    another_machine(monkeypatch, tmp_path, "reader")
    assert_same_run(whole, copies.copied("run", RUN))
    assert load_run(RUN).step == load_run(whole).step
    assert not (run_settings(RUN) / "checkpoints").exists()


def test_a_run_goes_on_on_another_machine(tiny, config, tasks, store, tmp_path, monkeypatch):
    config = dataclasses.replace(config, steps=6, evaluate_every=2)
    chosen = (tasks["label"], tasks["number"])
    train(config, chosen, tmp_path / "whole")
    with pytest.raises(Preempted, match="step 3 is saved"):
        train(config, chosen, RUN, preempted=lambda step: step == 3)
    assert checkpoint_steps(store / "bucket/run/checkpoints")[-1] == 3
    another_machine(monkeypatch, tmp_path, 2)
    train(config, chosen, RUN)
    assert_same_run(tmp_path / "whole", store / "bucket/run")
    # What another machine did counts, not what is left here.
    monkeypatch.setenv("MTLJAX_CACHE_DIR", str(tmp_path / "cache"))
    shutil.rmtree(store / "bucket/run/checkpoints/4")
    with run_to_write(RUN) as here:
        assert 4 not in checkpoint_steps(here / "checkpoints")
    assert_same_run(tmp_path / "whole", store / "bucket/run")


def test_several_processes_need_a_directory_that_all_have(store, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="s3://bucket/run: several processes"), run_to_write(RUN):
        pass


def test_the_command_trains_and_reads_there(mtljax, store, tmp_path, tiny_tasks, monkeypatch):
    tasks = tiny_tasks(store / "bucket/data", "s3://bucket/data")
    options = ["--preset", "linear", "--encoder.features", 4, "--encoder.embedding", 4]
    options += ["--encoder.ngram-buckets", 16, "--evaluate-every", 2, "--tasks", tasks]
    code, out, err = mtljax("train", "--run-dir", RUN, *options, "--steps", 4)
    assert code == 0, err
    assert f"{RUN}: trained in a copy, {tmp_path}/cache" in out and f"run: {RUN} (" in out
    another_machine(monkeypatch, tmp_path, 2)
    code, out, err = mtljax("train", "--run-dir", RUN, *options, "--steps", 6)
    assert code == 0 and "continuing from step 4" in out, err
    for arguments in (
        ["predict", RUN, "good", "--json"],
        ["evaluate", RUN, "--json"],
        ["show", RUN, "--json"],
        ["compare", RUN, RUN, "--json"],
    ):
        code, found, err = mtljax(*arguments)
        local = [str(store / "bucket/run") if each == RUN else each for each in arguments]
        assert code == 0, err
        if arguments[0] != "compare":
            assert found == mtljax(*local)[1]
    code, _, err = mtljax("evaluate", "s3://bucket/none")
    assert code == 2 and "s3://bucket/none: no such file or directory" in err
    assert not (store / "bucket/none").exists()


@pytest.fixture
def tiny_tasks(tmp_path):
    def write(there, named):
        there.mkdir(parents=True)
        rows = "text,label\ngood film,yes\nbad film,no\ngood day,yes\nbad day,no\n"
        (there / "rows.csv").write_text(rows * 4)
        tasks = tmp_path / "tasks.yaml"
        tasks.write_text(f"""
sources:
  rows: {{path: {named}/rows.csv, splits: {{train: "rows.csv[:60%]",
    validation: "rows.csv[60%:80%]", test: "rows.csv[80%:]"}}}}
tasks:
  mood: {{dataset: rows, kind: classification, inputs: text, targets: label}}
""")
        return tasks

    return write
