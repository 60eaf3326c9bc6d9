"""Tasks that have one head together."""

import dataclasses

import jax
import numpy as np
import pytest

from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.modules.shared_heads import SHARED_HEADS
from mtljax.training import train
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.objectives.model_objectives import model_objectives
from tests.tiny_models import random_params


@pytest.fixture
def trio(tasks):
    """Three tasks of two input groups with the same classes, and one of others.

    The first two have one head, the second one of its own besides.
    """
    first = dataclasses.replace(tasks["label"], head="mood")
    return (
        first,
        dataclasses.replace(first, name="again", inputs="words", own_head=True),
        dataclasses.replace(first, name="third", inputs="words", head=None),
        tasks["grade"],
    )


def without(chosen):
    return tuple(dataclasses.replace(task, head=None, own_head=False) for task in chosen)


def test_losses_and_gradients_are_those_of_equal_heads_apart(make, unaveraged, trio):
    """A head in common has the gradients that copies of it have, a row for each task."""
    model, data = make(unaveraged, trio)
    apart, _ = make(unaveraged, without(trio))
    params = random_params(model)
    mood = params["shared"].pop(SHARED_HEADS)["mood"]
    assert params["heads"]["label"] == {}
    heads = {
        **params["heads"],
        "label": mood,
        "again": jax.tree.map(np.add, mood, params["heads"]["again"]),
    }
    together = {**params, "shared": {**params["shared"], SHARED_HEADS: {"mood": mood}}}
    batch, _ = next(AlignedStreams(data, unaveraged, frozenset()))

    def gradients(model, params):
        return jax.jit(lambda p: model_objectives(model).task_gradients(p, batch, None))(params)

    found, expected = gradients(model, together), gradients(apart, {**params, "heads": heads})
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-6)
    rows = found.shared.pop(SHARED_HEADS)["mood"]
    for name, of_mood in rows.items():
        for leaf, row in of_mood.items():
            for i, task in enumerate(("label", "again", "third", "grade")):
                copy = expected.heads[task][name][leaf] if i < 2 else np.zeros_like(row[i])
                np.testing.assert_allclose(row[i], copy, rtol=1e-5, atol=1e-7)
    for task in ("again", "third", "grade"):
        for name, leaf in expected.heads[task]["out"].items():
            mine = found.heads[task]["out"][name]
            np.testing.assert_allclose(mine, leaf, rtol=1e-5, atol=1e-7)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        found.shared,
        expected.shared,
    )


def test_a_run_trains_resumes_and_answers(tiny, unaveraged, trio, tmp_path):
    config = dataclasses.replace(unaveraged, steps=4, evaluate_every=2)
    optimizer = dataclasses.replace(config.optimizer, schedule="constant", warmup_steps=0)
    config = dataclasses.replace(config, optimizer=optimizer)
    train(config, trio, tmp_path / "whole")
    train(dataclasses.replace(config, steps=2), trio, tmp_path / "parts")
    train(config, trio, tmp_path / "parts")
    one, two = load_run(tmp_path / "whole"), load_run(tmp_path / "parts")
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
    answer = one.predict([{"text": "w1 w2", "words": ["w1", "w2"]}])[0]
    assert list(answer) == ["label", "again", "third", "grade"]
    # What a head alone says is what the run says: the kernel of the common one and the own one.
    assert set(one.params["heads"]["again"]["out"]) == {"kernel", "bias"}
    assert one.params["heads"]["label"] == {} and SHARED_HEADS in one.params["shared"]


def test_what_cannot_be_one_head_is_refused(make, unaveraged, tasks):
    def named(*names, **changes):
        first, *others = (dataclasses.replace(tasks[name], head="mood") for name in names)
        return first, *(dataclasses.replace(task, **changes) for task in others)

    again = dataclasses.replace(tasks["label"], name="again", loss="hinge", head="mood")
    cases = [
        (named("label", "grade"), "tasks 'label' and 'grade' have other classes, such as 'bad'"),
        (named("label", "number"), "have other kinds, classification and regression"),
        ((*named("label"), again), "have other losses, softmax and hinge"),
        (
            named("tags", "tags", name="more", constrained=True),
            "have other values of 'constrained', False and True",
        ),
    ]
    for chosen, message in cases:
        with pytest.raises(UserError, match=f"head 'mood': .*{message}"):
            make(unaveraged, chosen)
    for changes, message in (
        ({"head": "mood", "name": "next"}, None),
        ({"own_head": True}, "field 'own_head': is for a task with a shared head"),
        ({"head": "a/b"}, "field 'head': 'a/b': use letters"),
        ({"own_head": 1}, "field 'own_head': expected true or false, got 1"),
    ):
        if message is None:
            with pytest.raises(UserError, match="language_model shares none: it predicts words"):
                dataclasses.replace(tasks["next"], head="mood")
            continue
        with pytest.raises(UserError, match=message):
            dataclasses.replace(tasks["label"], **changes)
