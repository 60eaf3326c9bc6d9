"""Tasks that stop while others go on."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.errors import Preempted, UserError
from mtljax.inference import load_run
from mtljax.optim import MultiObjectiveState
from mtljax.presets import ParallelConfig, StoppingConfig, check
from mtljax.step import TrainState
from mtljax.training import stopping, task_stopping, train
from mtljax.training.stopping import Best
from mtljax.training.task_stopping import NO_STOPS, TaskStops


@pytest.fixture
def scores(monkeypatch):
    """Sets the score of each task, evaluation by evaluation; the last checkpoint is the best."""

    def by_task(**values):
        left = {name: iter(of_task) for name, of_task in values.items()}
        monkeypatch.setattr(
            task_stopping, "score", lambda model, of_task: next(left[next(iter(of_task))])
        )

    monkeypatch.setattr(stopping, "chosen_score", lambda *arguments: math.nan)
    return by_task


@pytest.fixture
def patient(unaveraged):
    """Momentum, weight decay and a moving average, which all move a head without a gradient."""
    optimizer = dataclasses.replace(
        unaveraged.optimizer,
        average=0.5,
        weight_decay=0.1,
        learning_rate=0.05,
        schedule="constant",
        warmup_steps=0,
    )
    stop = StoppingConfig(task_patience=1)
    return dataclasses.replace(
        unaveraged, steps=6, evaluate_every=2, optimizer=optimizer, stopping=stop
    )


def test_after_evaluations(scores):
    scores(a=[0.5, 0.4, 0.6, 0.6, 0.5], b=[0.1, math.nan, 0.3, 0.4, 0.5])
    stops = NO_STOPS
    for step in (10, 20, 30, 40, 50):
        values = {"a": {}, "b": {}} if "a" not in stops.stopped else {"b": {}}
        stops = task_stopping.after_evaluation(stops, 2, None, values, step, 10)
    assert stops == TaskStops({"a": Best(30, 0.6), "b": Best(50, 0.5)}, {"a": 50})
    assert task_stopping.stops_from_json(task_stopping.stops_to_json(stops)) == stops
    assert task_stopping.stops_to_json(NO_STOPS) is None
    assert task_stopping.after_evaluation(NO_STOPS, 0, None, {"a": {}}, 10, 10) is NO_STOPS


def test_a_task_that_has_stopped_has_no_target():
    batch = {"g": {"tokens": jnp.ones(3), "weights": {"a": jnp.ones(2), "b": jnp.ones(2)}}}
    found = task_stopping.without_targets(batch, TaskStops({}, {"a": 4}))
    assert found["g"]["tokens"] is batch["g"]["tokens"]
    np.testing.assert_array_equal(found["g"]["weights"]["a"], [0, 0])
    np.testing.assert_array_equal(found["g"]["weights"]["b"], [1, 1])
    assert task_stopping.without_targets(batch, NO_STOPS) is batch


def test_its_head_stays_and_the_others_go_on(tiny, patient, tasks, scores, tmp_path):
    chosen = (tasks["label"], tasks["grade"])

    def run(name, steps, **options):
        scores(label=[0.5, 0.5, 0.9], grade=[0.1, 0.2, 0.3])
        config = dataclasses.replace(patient, steps=steps)
        return train(config, chosen, tmp_path / name, **options), tmp_path / name

    summary, whole = run("whole", 6)
    assert summary["steps"] == 6 and summary["stopped_tasks"] == {"label": 4}
    _, short = run("short", 4)
    late, early = load_run(whole).params, load_run(short).params
    jax.tree.map(np.testing.assert_array_equal, late["heads"]["label"], early["heads"]["label"])
    for part in ("shared", "grade"):
        pair = [tree["shared"] if part == "shared" else tree["heads"][part] for tree in
                (late, early)]  # fmt: skip
        assert not any(map(np.array_equal, *map(jax.tree.leaves, pair)))

    with pytest.raises(Preempted):
        run("parts", 6, preempted=lambda step: step == 5)
    scores(grade=[0.3])
    resumed = train(patient, chosen, tmp_path / "parts")
    assert resumed["stopped_tasks"] == {"label": 4}
    jax.tree.map(np.testing.assert_array_equal, load_run(tmp_path / "parts").params, late)


def test_private_parameters_stand_still_like_the_head():
    """Those of the other task, and all that is shared, are as the step left them."""
    tree = {part: {"a": jnp.ones(2), "b": jnp.ones(2)} for part in ("shared", "private", "heads")}
    state = TrainState(jnp.int32(4), tree, tree, MultiObjectiveState((), ()))
    held = task_stopping.held_parameters(state, TaskStops({}, {"a": 4}))
    doubled = jax.tree.map(lambda leaf: 2 * leaf, tree)
    moved = state._replace(params=doubled, average=doubled)
    again = task_stopping.held_parameters(moved, TaskStops({}, {"a": 4}), held)
    for found in task_stopping.with_held(moved, again)[1:3]:
        by_task = [(found[part]["a"][0], found[part]["b"][0]) for part in tree]
        assert by_task == [(2, 2), (1, 2), (1, 2)]


def test_a_run_ends_when_all_have_stopped(tiny, patient, tasks, scores, tmp_path):
    scores(label=[0.5, 0.5], grade=[0.1, 0.1])
    chosen = (tasks["label"], tasks["grade"])
    summary = train(patient, chosen, tmp_path)
    assert (summary["steps"], summary["stopped"]) == (4, "all tasks have stopped")
    assert summary["stopped_tasks"] == {"label": 4, "grade": 4}
    assert train(patient, chosen, tmp_path) == summary


def test_bad_input(patient):
    with pytest.raises(UserError, match="stopping.task_patience: not with parallel.strategy"):
        check(dataclasses.replace(patient, parallel=ParallelConfig(strategy="pmap")))
