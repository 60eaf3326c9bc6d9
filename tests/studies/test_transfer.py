"""Encoders of tasks tried on other tasks, and groupings that are really trained."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from mtljax.errors import UserError
from mtljax.metrics.states import Mean
from mtljax.modules.config import EncoderConfig
from mtljax.presets import BatchConfig, Config
from mtljax.studies import plan_study, relate
from mtljax.studies.advice import checked_advice
from mtljax.studies.answers import Groups
from mtljax.studies.checked_groups import checked, grouping_runs, groupings, run_name
from mtljax.studies.text_states import TextStates
from mtljax.studies.transfer import Moved, transfer_answer

CONFIG = Config(
    steps=4,
    evaluate_every=2,
    batch=BatchConfig(tokens=512, row_length=32),
    encoder=EncoderConfig(embedding=8, features=8),
)
TASK = {"kind": "classification", "inputs": "text", "targets": "label"}
TASKS = {
    "tasks": {
        "amazon": {"dataset": "amazon_sentiment", **TASK},
        "movie": {"dataset": "movie_sentiment", **TASK},
        "plot": {"dataset": "movie_lm", "kind": "language_model", "inputs": "text"},
    }
}


def texts(right, metric="accuracy"):
    right = np.asarray(right, float)
    states: Any = Mean(right, np.ones(len(right)))
    return TextStates(metric, metric == "loss", 1.0, np.arange(len(right)), states)


@pytest.fixture(scope="module")
def plan():
    return plan_study(CONFIG, TASKS, seeds=1, transfer=True)


def test_every_pair_that_can_be_read_has_a_run_from_the_models_of_one_task(plan):
    runs = {run.name: run for run in plan.runs if run.part == "transfer"}
    # Encoders of classifiers read in both directions, which a language model cannot.
    assert list(runs) == [
        "transfer-movie-amazon-seed0",
        "transfer-plot-amazon-seed0",
        "transfer-amazon-movie-seed0",
        "transfer-plot-movie-seed0",
    ]
    run = runs["transfer-plot-amazon-seed0"]
    assert (run.origin, [task.name for task in run.tasks]) == ("alone-plot-seed0", ["amazon"])
    assert run.config.optimizer.frozen == ("^shared/",)
    (alone,) = [one for one in plan.runs if one.name == "alone-amazon-seed0"]
    assert (run.config.steps, run.config.batch) == (alone.config.steps, alone.config.batch)
    assert plan.notes == (
        "plot writes text, and encoders of tasks that do not read in both directions: no transfer "
        "to it from these.",
    )


def test_the_matrix_has_own_models_on_its_diagonal_and_changes_beside_it():
    own = {("a", 0): texts([1, 1, 0, 0]), ("b", 0): texts([3.0, 1, 1, 1], "loss")}
    moved = {Moved("a", "b", 0): texts([2.0, 1, 1, 1], "loss")}
    found = transfer_answer(moved, own, ["a", "b"], 3.0, draws=50)
    values = [[one and one.value for one in row] for row in found.values]
    assert values == [[0.5, 1.25], [None, 1.5]]
    assert found.changes[0][0] is None
    assert found.changes[0][1] is not None
    assert found.changes[0][1].value == -0.25
    assert (found.runs, found.lower_is_better) == (1, (False, True))
    other = own["b", 0]._replace(rows=np.arange(1, 5))
    with pytest.raises(UserError, match="test texts differ"):
        transfer_answer(moved, {**own, ("b", 0): other}, ["a", "b"], 3.0, draws=5)


def _groups(labels):
    names = tuple("abcdef"[: len(labels)])
    zeros = (0.0,) * len(labels)
    return Groups(names, (zeros,) * len(labels), tuple(labels), zeros, None)


def test_random_groupings_are_others_of_the_same_sizes():
    compared = groupings(_groups([0, 0, 1, 1, 1, 0]), 4)
    assert list(compared) == ["recommended", "all together", "each alone", "random"]
    assert compared["recommended"] == [(("a", "b", "f"), ("c", "d", "e"))]
    drawn = compared["random"]
    assert len({frozenset(map(frozenset, one)) for one in drawn}) == 4
    for one in drawn:
        assert sorted(map(len, one)) == [3, 3]
        assert sorted(itertools.chain(*one)) == list("abcdef")
        assert frozenset(map(frozenset, one)) != {frozenset("abf"), frozenset("cde")}
    # Of two tasks there is no other grouping.
    assert "random" not in groupings(_groups([0, 1]), 3)


def test_a_group_reads_what_its_tasks_read_in_the_joint_run(plan):
    groups = Groups(("amazon", "movie", "plot"), ((0.0,) * 3,) * 3, (0, 1, 0), (0.0,) * 3, None)
    compared = groupings(groups, 2)
    runs = grouping_runs(plan.config, plan.tasks, plan.data, compared, seeds=1)
    assert {run.name for run in runs} == {
        "group-amazon+plot-seed0",
        "group-amazon+movie-seed0",
        "group-movie+plot-seed0",
    }
    alone = {run.alone: run.config.batch.tokens for run in plan.runs if run.part == "base"}
    # Two of the tasks read the same texts, once.
    assert alone["movie"] == alone["plot"]
    for run in runs:
        sources = {"amazon": "amazon", "movie": "movie", "plot": "movie"}
        read = {sources[task.name] for task in run.tasks}
        assert run.config.batch.tokens == sum(alone[name] for name in read)
        assert run.config.steps == 4
    assert len(run_name([f"task{number}" for number in range(50)], 60, 0)) < 120


def test_a_grouping_that_is_ahead_is_said_to_be(tmp_path):
    generator = np.random.default_rng(1)
    compared = groupings(_groups([0, 0, 1, 1]), 2)
    chances = {"ab": 0.9, "cd": 0.9, "abcd": 0.7}
    measured = {}
    for of_kind in compared.values():
        for group in itertools.chain(*of_kind):
            for seed in range(2):
                chance = chances.get("".join(group), 0.5)
                results = {name: texts(generator.random(150) < chance) for name in group}
                measured[run_name(group, 4, seed)] = results
    found = {one.name: one for one in checked(compared, measured, [0, 1], draws=200)}
    own = np.mean([measured[f"alone-{n}-seed{s}"][n].value() for n in "abcd" for s in (0, 1)])
    gain = found["recommended"].gain
    assert gain is not None
    assert 0.6 < gain.value < 1.1  # of 0.9 over about 0.5
    np.testing.assert_allclose(own, 0.5, atol=0.06)
    leads = [found[name].lead for name in ("all together", "each alone", "random")]
    assert all(lead is not None and lead.low > 0 for lead in leads)
    (line,) = checked_advice(tuple(found.values()))
    assert "(a and b; c and d), really trained, is ahead of one model of all" in line
    # Of runs that diverged nothing is said.
    kept = {name: one for name, one in measured.items() if not name.startswith("group-a+b")}
    left = {one.name: one for one in checked(compared, kept, [0, 1], draws=20)}
    assert left["recommended"].gain is None
    assert "no runs that did not diverge" in checked_advice(tuple(left.values()))[0]


def test_groupings_of_unequal_cost_are_refused(tmp_path):
    for options, message in [
        ({"check_groups": -1}, "check-groups: must be 0 or more"),
        ({"check_groups": 1, "budget": "whole"}, "check-groups: compares groupings of equal cost"),
    ]:
        with pytest.raises(UserError, match=message):
            relate(dataclasses.replace(CONFIG), TASKS, tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()
