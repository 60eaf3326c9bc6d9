"""Tasks added to a trained run, and heads trained anew."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.modules.shared_heads import encoder_params, shared_heads
from mtljax.modules.structures import STRUCTURES
from mtljax.presets import RegularizerConfig, StoppingConfig
from mtljax.training import best_heads, extended_run, stopping, train
from mtljax.training.assembled_run import read_part
from mtljax.training.extended_run import (
    ADDED,
    extend_run,
    extension_config,
    put_best_heads_together,
)
from mtljax.training.persistence import checkpoint_digests
from mtljax.training.persistence.start_record import read_start
from mtljax.training.reporting.metrics_file import read_metrics

TEXTS = [{"text": t, "words": t.split()} for t in ("w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w1", "w3 w3")]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A directory for the runs of this module."""
    return tmp_path_factory.mktemp("extended")


@pytest.fixture
def origin(tiny, unaveraged, tasks, kept):
    """A run of two tasks, with a moving average; trained once."""
    if not (kept / "origin").exists():
        optimizer = dataclasses.replace(unaveraged.optimizer, average=0.5)
        config = dataclasses.replace(unaveraged, steps=2, evaluate_every=2, optimizer=optimizer)
        first = dataclasses.replace(tasks["label"], head="mood")
        train(config, (first, tasks["tags"]), kept / "origin")
    return kept / "origin"


def same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_old_answers_stay_to_the_last_bit(origin, tasks, tmp_path, monkeypatch):
    """A task of an input group of its own, and one that reads what an old one reads."""
    more = (
        tasks["grade"],
        dataclasses.replace(
            tasks["label"], name="again", inputs="words", head="mood", own_head=True
        ),
    )
    before = load_run(origin)
    summary = extend_run(origin, tmp_path / "run", more)
    after = load_run(tmp_path / "run")
    for group in before.layout.groups:
        assert after.layout.shapes[group.name] == before.layout.shapes[group.name]
    old = before.predict(TEXTS)
    for mine, theirs in zip(after.predict(TEXTS), old, strict=True):
        assert {name: mine[name] for name in theirs} == theirs  # floats, to the last bit
        assert list(mine) == ["label", "tags", "grade", "again"]
    same(after.params["shared"], before.params["shared"])
    for name in ("label", "tags"):
        same(after.params["heads"][name], before.params["heads"][name])
    # The new heads are those of their own run, where nothing else was trained.
    added = load_run(tmp_path / "run" / ADDED)
    same(after.params["heads"]["grade"], added.params["heads"]["grade"])
    same(shared_heads(added.params["shared"]), shared_heads(before.params["shared"]))
    assert added.step == 2 and summary["steps"] == 0
    start = read_start(tmp_path / "run")
    assert start is not None and start["added"] == {"grade": 2, "again": 2}
    # The same call again finds it complete.
    assert json.dumps(extend_run(origin, tmp_path / "run", more)) == json.dumps(summary)

    # Neither is the run that trained the heads trained on, nor are they joined to another encoder.
    longer = dataclasses.replace(extension_config(before.config), steps=4)
    with pytest.raises(UserError, match="heads were trained with steps 2, not 4; choose another"):
        extend_run(origin, tmp_path / "run", more, longer)

    def moved(directory, say):
        part = read_part(directory, say)
        return part._replace(params=jax.tree.map(lambda leaf: leaf + 1, part.params), step=7)

    monkeypatch.setattr(extended_run, "read_part", moved)
    with pytest.raises(UserError, match="best step is 7 now, and heads in .* on that of step 2;"):
        extend_run(origin, tmp_path / "run", more)
    assert load_run(tmp_path / "run" / ADDED).step == 2


@pytest.mark.parametrize("name", ["tags", "label"])
def test_a_head_is_retrained_alone(origin, name, tmp_path):
    """One of a task's own, and one by name that no other task has."""
    before = load_run(origin)
    extend_run(origin, tmp_path / "run", retrain=[name])
    after = load_run(tmp_path / "run")
    other = {"tags": "label", "label": "tags"}[name]
    same(encoder_params(after.params["shared"]), encoder_params(before.params["shared"]))
    heads = [
        {**run.params["heads"], **shared_heads(run.params["shared"])} for run in (before, after)
    ]
    old, new = (found[{"label": "mood"}.get(name, name)]["out"]["kernel"] for found in heads)
    assert np.any(np.asarray(old) != new)
    kept = [answer[other] for answer in before.predict(TEXTS)]
    assert [answer[other] for answer in after.predict(TEXTS)] == kept


def test_penalties_by_path_are_not_inherited(config):
    regularizer = RegularizerConfig(l2=0.5, l1=0.1, l1_on="^heads/label/", heads_together=1.0)
    found = extension_config(dataclasses.replace(config, regularizer=regularizer)).regularizer
    assert found == RegularizerConfig(l2=0.5)


@pytest.mark.exhaustive
def test_heads_of_their_own_best_steps(tiny, unaveraged, tasks, tmp_path, monkeypatch):
    """Four checkpoints are kept of six: the best of each task, and the two latest."""
    ranks = {"label": [3, 9, 1, 1, 1, 1], "grade": [1, 1, 1, 9, 1, 1]}
    left = {name: iter(of_task) for name, of_task in ranks.items()}
    monkeypatch.setattr(
        stopping, "scores_of_tasks", lambda model, values: {n: next(left[n]) for n in values}
    )
    optimizer = dataclasses.replace(unaveraged.optimizer, frozen=("^shared/",), learning_rate=0.1)
    config = dataclasses.replace(
        unaveraged,
        steps=6,
        evaluate_every=1,
        optimizer=optimizer,
        stopping=StoppingConfig(keep_each=True),
    )
    run, chosen = tmp_path / "run", (tasks["label"], tasks["grade"])
    summary = train(config, chosen, run)
    steps = {int(path.name) for path in (run / "checkpoints").iterdir()}
    assert steps == {2, 4, 5, 6, summary["best_step"]}
    found = put_best_heads_together(run, tmp_path / "best")
    start = read_start(tmp_path / "best")
    assert start is not None and start["steps"] == {"label": 2, "grade": 4}
    lines = {line["step"]: line for line in read_metrics(run) if line["split"] == "validation"}
    for task, step in start["steps"].items():
        for name, value in found["tasks"][task]["validation"].items():
            assert value == lines[step][f"{task}/{name}"]

    # With an encoder that moves, heads of several steps fit none.
    for name, message in (("origin", "do not say how good each task was"), ("run", "are not")):
        moved = tmp_path / "moved" if name == "run" else run
        if name == "run":
            left |= {task: iter(of_task) for task, of_task in ranks.items()}
            free = dataclasses.replace(optimizer, frozen=())
            train(dataclasses.replace(config, steps=4, optimizer=free), chosen, moved)
        else:
            monkeypatch.setattr(best_heads, "read_scores", lambda folder, step: {"score": 0.0})
        with pytest.raises(UserError, match=message):
            put_best_heads_together(moved, tmp_path / "none")
        monkeypatch.setattr(best_heads, "read_scores", checkpoint_digests.read_scores)
    assert not (tmp_path / "none").exists()


def test_without_freezing_all_are_trained_from_there(origin, tasks, tmp_path):
    config = dataclasses.replace(extension_config(load_run(origin).config), steps=0)
    # Vectors that a run began with are in its parameters.
    encoder = dataclasses.replace(config.encoder, vectors="vectors.txt")
    config = dataclasses.replace(config, encoder=encoder)
    extend_run(origin, tmp_path / "run", (tasks["grade"],), config, freeze=False)
    before, after = load_run(origin), load_run(tmp_path / "run")
    same(after.params["shared"], before.params["shared"])
    assert set(after.params["heads"]) == {"label", "tags", "grade"}
    assert after.config.optimizer.frozen == () and not (tmp_path / "run" / ADDED).exists()


def test_no_task_joins_what_has_a_part_of_each(origin, tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(extended_run, "structure_of", lambda sharing: STRUCTURES["cross_stitch"])
    with pytest.raises(UserError, match="none can be added"):
        extend_run(origin, tmp_path / "run", (tasks["grade"],))
    assert not (tmp_path / "run").exists()


def test_bad_input(origin, tasks, tmp_path):
    begun = extension_config(load_run(origin).config)
    pair = (dataclasses.replace(tasks["label"], head="mood"),) * 2
    both = [dataclasses.replace(task, name=name) for task, name in zip(pair, "ab", strict=True)]
    assert extended_run._learned(origin, both, (), ["a", "b"], True) == tuple(both)
    with pytest.raises(UserError, match="task 'a': its head 'mood' is that of other tasks too"):
        extended_run._learned(origin, both, (), ["a"], True)
    for section, field, value in (
        ("heads", "pooling", ("max",)),
        ("heads", "lookahead", 1),
        ("decoder", "layers", 1),
        ("batch", "row_length", 10),
    ):
        part = dataclasses.replace(getattr(begun, section), **{field: value})
        config = dataclasses.replace(begun, **{section: part})
        with pytest.raises(UserError, match=rf"^{section}.{field}: is .* in .*origin, whose answ"):
            extend_run(origin, tmp_path / "run", (tasks["grade"],), config)
    again = dataclasses.replace(tasks["label"], name="again", head="mood")
    cases = [
        ({"tasks": (tasks["tags"],)}, "task 'tags': is in .*origin and in the tasks to be added"),
        ({}, "name either tasks to be added"),
        ({"tasks": (tasks["grade"],), "retrain": ["tags"]}, "name either tasks to be added"),
        ({"retrain": ["tag"]}, "task 'tag': unknown to .*origin; did you mean 'tags'"),
        ({"retrain": ["tags"], "freeze": False}, "trains heads alone, with the encoder frozen"),
        ({"tasks": (again,)}, "nothing is to be learned, its head 'mood' is one of"),
    ]
    for arguments, message in cases:
        with pytest.raises(UserError, match=message) as raised:
            extend_run(origin, tmp_path / "run", **arguments)
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="holds another run; choose another --run-dir"):
        extend_run(origin, origin, (tasks["grade"],))
    assert not (tmp_path / "run").exists()
