"""Writers get the numbers of every line; those of services are tried without them, by fakes that
have the calls of wandb 0.31 and mlflow 3.17, which were tried offline with the packages too."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mtljax.errors import UserError
from mtljax.training.reporting.metrics_writers import (
    LoggedRun,
    check_writers,
    make_writers,
    write_to_all,
)

VALUES = {"loss/a": 0.5, "loss/b": None, "a/accuracy": 1, "b/loss": float("nan")}


def logged(directory, step=-1) -> LoggedRun:
    from mtljax.presets import Config

    return LoggedRun(directory, Config(steps=3), (), step)


def written(directory, name, step=-1):
    """What happens to a line of a run."""
    said: list[str] = []
    check_writers([name])
    writers = make_writers([name], logged(directory, step))
    write_to_all(writers, 3, "train", VALUES, said.append)
    for writer in writers:
        writer.close()
    assert not said


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    written(tmp_path, "tensorboard")
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert b"train/loss/a" in content and b"loss/b" not in content and b"b/loss" not in content


def test_weights_and_biases_go_on_where_a_run_does(tmp_path, monkeypatch):
    calls: list[Any] = []

    def init(**options):
        calls.append(("init", options["id"], options["resume"], options["config"]["steps"]))
        return SimpleNamespace(
            log=lambda values, step: calls.append((values, step)),
            finish=lambda: calls.append("finish"),
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    written(tmp_path, "wandb")
    written(tmp_path, "wandb", step=2)
    written(tmp_path, "wandb")  # begun anew
    line = ({"train/loss/a": 0.5, "train/a/accuracy": 1}, 3)
    names = [call[1] for call in calls if call[0] == "init"]
    assert names[0] == names[1] != names[2]
    assert calls == [c for name in names for c in (("init", name, "allow", 3), line, "finish")]


def test_mlflow(tmp_path, monkeypatch):
    calls: list[Any] = []
    runs: list[Any] = []

    class Client:
        def get_experiment_by_name(self, name):
            return None if not runs else SimpleNamespace(experiment_id="7")

        def create_experiment(self, name):
            return "7"

        def search_runs(self, places, query):
            assert places == ["7"] and query.startswith("tags.`mtljax.run` = ")
            return [run for run in runs if run.tag in query]

        def create_run(self, place, run_name, tags):
            runs.append(SimpleNamespace(info=SimpleNamespace(run_id="r"), tag=tags["mtljax.run"]))
            return runs[-1]

        def update_run(self, run, status):
            calls.append((run, status))

        def log_batch(self, run, metrics=(), params=()):
            calls.extend((one.key, one.value) for one in metrics)
            assert len(params) <= 100

        def set_terminated(self, run):
            calls.append((run, "ended"))

    def metric(key, value, timestamp, step):
        return SimpleNamespace(key=key, value=value, step=step)

    entities = SimpleNamespace(Metric=metric, Param=lambda key, value: (key, value))
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=Client))
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    line = [("train/loss/a", 0.5), ("train/a/accuracy", 1), ("r", "ended")]
    written(tmp_path, "mlflow")
    assert calls == line
    written(tmp_path, "mlflow", step=2)
    assert calls == [*line, ("r", "RUNNING"), *line] and len(runs) == 1


def test_a_writer_of_ones_own_and_one_that_fails(tmp_path):
    lines, said = [], []

    class Own:
        def write(self, step, split, values):
            lines.append((step, split, values))
            if step == 4:
                raise RuntimeError("no\nconnection")

        def close(self):
            lines.append("closed")

    writers = make_writers([lambda run: Own()], logged(tmp_path))
    for step in (3, 4, 5):
        write_to_all(writers, step, "validation", {"a": 1.0}, said.append)
    assert lines == [(step, "validation", {"a": 1.0}) for step in (3, 4)] and not writers
    assert said == ["warning: Own gets no more metrics (no connection)"]


def test_what_cannot_begin(tmp_path, monkeypatch):
    def init(**options):
        raise RuntimeError("not logged in")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(UserError, match=r"log_to: wandb cannot begin \(not logged in\)"):
        make_writers(["wandb"], logged(tmp_path))
