"""Tasks that are new to a model of the others."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from mtljax.errors import Diverged, UserError
from mtljax.inference import load_run
from mtljax.metrics.states import Mean
from mtljax.modules.config import EncoderConfig
from mtljax.presets import BatchConfig, Config
from mtljax.studies import NewTask, do_runs, draw_new_tasks, plan_study
from mtljax.studies.advice import new_task_advice
from mtljax.studies.intervals import Difference, Interval
from mtljax.studies.new_tasks import Learned, new_task_answers
from mtljax.studies.text_states import TextStates
from mtljax.tasks import load_tasks
from mtljax.training.persistence import run_directory
from tests.first_texts import splits, write_first

TASKS = """\
tasks:
  sentiment: {dataset: amazon_sentiment, kind: classification, inputs: text, targets: label}
  stars: {dataset: movie_sentiment, kind: classification, inputs: text, targets: label}
"""
CONFIG = Config(
    steps=4,
    evaluate_every=2,
    batch=BatchConfig(tokens=512, row_length=32),
    encoder=EncoderConfig(embedding=8, features=8),
)
LINEAR = dataclasses.replace(CONFIG, encoder=EncoderConfig(kind="linear", embedding=8, features=8))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    path = tmp_path_factory.mktemp("tasks") / "tasks.yaml"
    path.write_text(TASKS)
    return path


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The same tasks on their first texts."""
    base = tmp_path_factory.mktemp("few")
    write_first("amazon_sentiment", base / "reviews")
    write_first("movie_sentiment", base / "films")
    text = TASKS.replace("amazon_sentiment", "reviews").replace("movie_sentiment", "films")
    own = f"sources: {{reviews: {{{splits('reviews')}}}, films: {{{splits('films')}}}}}\n"
    (base / "tasks.yaml").write_text(own + text)
    return base / "tasks.yaml"


def test_a_plan_has_a_model_of_the_rest_and_every_way_from_it(tasks):
    batch = BatchConfig(tokens=2048, row_length=32)
    config = dataclasses.replace(CONFIG, steps=1000, batch=batch)
    plan = plan_study(config, tasks, seeds=1, leave_out=["stars"], samples=["16", "9000", "all"])
    names = [run.name for run in plan.runs]
    ways = ("frozen", "tuned", "adapter", "alone")
    assert names[3:] == [
        "rest-stars-seed0",
        *(f"new-stars-{way}-{count}-seed0" for count in (16, 8473) for way in ways),
    ]
    assert plan.notes == ("stars has 8473 training texts, not 9000: all are used.",)
    runs = {run.name: run for run in plan.runs}
    rest = runs["rest-stars-seed0"]
    assert [task.name for task in rest.tasks] == ["sentiment"]
    # The rest reads what it reads in the joint run, less the share of the task that is left out.
    alone = {name: runs[f"alone-{name}-seed0"].config for name in ("sentiment", "stars")}
    assert rest.config.batch.tokens == alone["sentiment"].batch.tokens
    few = {way: runs[f"new-stars-{way}-16-seed0"] for way in ways}
    assert {run.config.data.samples for run in few.values()} == {16}
    assert {run.origin for run in few.values()} == {rest.name}
    assert [few[way].drawn for way in ways] == [False, False, False, True]
    assert few["frozen"].config.optimizer.frozen == ("^shared/",)
    assert few["adapter"].config.sharing.structure == "lora"
    # Sixteen texts fill less than a step of all: one pass a step, a hundred passes at most.
    assert few["tuned"].config.batch.tokens < alone["stars"].batch.tokens
    assert few["tuned"].config.steps == 100
    whole = runs["new-stars-tuned-8473-seed0"].config
    assert (whole.steps, whole.data.samples) == (1000, 0)
    assert whole.batch == alone["stars"].batch
    linear = plan_study(LINEAR, tasks, seeds=1, leave_out=["all"], samples=[16])
    assert not any("adapter" in run.name for run in linear.runs)
    assert {key.task for key in linear.learned} == {"sentiment", "stars"}


def test_what_cannot_be_left_out_is_refused(few):
    for names, samples, message in [
        (["star"], ["16"], "leave-out: no task 'star'; did you mean 'stars'"),
        (["stars"], ["0"], "samples: must be 1 or more, or 'all', got '0'"),
        (["stars"], ["few"], "samples: must be 1 or more, or 'all', got 'few'"),
        (["stars"], [], "samples: name a number"),
    ]:
        with pytest.raises(UserError, match=message):
            plan_study(CONFIG, few, seeds=1, leave_out=names, samples=samples)
    sentiment, stars = load_tasks(few)
    writing = dataclasses.replace(stars, kind="language_model", targets=None)
    with pytest.raises(UserError, match="task 'stars' writes words of its own"):
        plan_study(CONFIG, (sentiment, writing), seeds=1, leave_out=["stars"])


def test_a_new_task_begins_from_the_model_of_the_rest(few, tmp_path, monkeypatch):
    plan = plan_study(LINEAR, few, seeds=1, leave_out=["stars"], samples=[16])
    runs = {run.name: run for run in plan.runs}
    chosen = [runs[name] for name in runs if name.startswith(("rest", "new-stars-frozen"))]
    with pytest.raises(UserError, match="begins from rest-stars-seed0, which is not done"):
        next(do_runs(chosen[1:], tmp_path))
    done = list(do_runs(chosen, tmp_path))
    assert all(one.summary is not None for one in done)
    rest, frozen = (load_run(tmp_path / run.name) for run in chosen)
    for one, other in zip(
        *(jax.tree.leaves(r.params["shared"]) for r in (rest, frozen)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert frozen.tokenizer.fingerprint == rest.tokenizer.fingerprint
    layout = run_directory.read_run(tmp_path / chosen[1].name).layout
    assert layout.outputs["stars"].classes == rest.layout.outputs["sentiment"].classes

    def diverging(*arguments, **options):
        raise Diverged("step 1: loss is not finite")

    monkeypatch.setattr("mtljax.studies.study.train_in_steps", diverging)
    assert [one.summary for one in do_runs(chosen, tmp_path)] == [None, None]


def _texts(right, rows=None):
    right = np.asarray(right, float)
    states: Any = Mean(right, np.ones(len(right)))
    return TextStates(
        "accuracy", False, 1.0, np.arange(len(right)) if rows is None else rows, states
    )


def test_answers_are_means_and_paired_differences_of_the_seeds_that_are_there():
    generator = np.random.default_rng(0)
    measured = {
        Learned("new", way, count, seed): _texts(generator.random(200) < chance)
        for seed in range(2)
        for count in (16, 64)
        for way, chance in (("tuned", 0.9 if count == 64 else 0.5), ("alone", 0.5))
    }
    del measured[Learned("new", "tuned", 16, 1)], measured[Learned("new", "alone", 16, 0)]
    answer = new_task_answers(measured, draws=200)["new"]
    assert answer.samples == (16, 64)

    def mean(way, count):
        return np.mean(
            [t.value() for k, t in measured.items() if (k.way, k.samples) == (way, count)]
        )

    for way in ("tuned", "alone"):
        found = [one and one.value for one in answer.values[way]]
        np.testing.assert_allclose(found, [mean(way, 16), mean(way, 64)])
    # No seed has both ways from 16 samples.
    few, more = answer.gains["tuned"]
    assert few is None
    assert more is not None
    np.testing.assert_allclose(more.value, mean("tuned", 64) - mean("alone", 64))
    assert more.low > 0.2
    other = {**measured, Learned("new", "frozen", 64, 0): _texts(np.ones(200), np.arange(1, 201))}
    with pytest.raises(UserError, match="test texts differ"):
        new_task_answers(other, draws=10)


def test_advice_and_figure_say_what_is_told_apart(tmp_path):
    value, sure = Interval(0.5, 0.4, 0.6), Difference(0.031, 0.01, 0.05, 0.01)
    task = NewTask(
        "accuracy",
        False,
        (16, 64),
        {"tuned": (value, value), "adapter": (None, value), "alone": (value, value)},
        {
            "tuned": (Difference(0.01, -0.01, 0.03, 0.5), sure),
            "adapter": (None, Difference(-0.02, -0.03, -0.01, 0.01)),
        },
    )
    (line,) = new_task_advice({"c": task})
    assert line == (
        "A new task like c (accuracy), against beginning from nothing: from 16 samples nothing is "
        "told apart; from 64 samples tuning gains 3.1 points and an adapter costs 2.0 points."
    )
    wrong = NewTask("absolute_error", True, (16,), {"tuned": (value,)}, {"tuned": (sure,)})
    assert "from 16 samples tuning costs 0.031." in new_task_advice({"c": wrong})[0]
    assert draw_new_tasks({"c": task}, tmp_path / "c.png").stat().st_size > 5000
