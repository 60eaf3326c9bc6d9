"""Groups of a few rows more or less, padded to one size."""

import itertools

import jax
import numpy as np
import pytest

from mtljax import gradients
from mtljax.gradients.problem import make_problem
from mtljax.gradients.same_shapes import alike_groups
from mtljax.kinds import Output
from mtljax.modules import HeadsConfig
from mtljax.tasks import Task
from mtljax.training.inputs.abstract_batch import abstract_batch
from mtljax.training.objectives import model_functions
from mtljax.training.objectives.alike_rows import Size, alike_sizes, padded_rows
from mtljax.training.objectives.device_layout import ONE_PROGRAM
from tests.tiny_models import random_params
from tests.training import on_devices


def best_by_trial(rows, limit):
    """Sets and padding of the best of all ways to cut the sorted numbers."""
    numbers = sorted(rows)
    found = []
    for cuts in itertools.product([False, True], repeat=len(rows) - 1):
        ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [len(rows)]
        parts = [numbers[b:e] for b, e in zip([0, *ends], ends, strict=False)]
        padding = sum(part[-1] * len(part) - sum(part) for part in parts)
        if padding <= limit * sum(rows):
            found.append((len({part[-1] for part in parts}), padding))
    return min(found)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limit", [0, 0.05, 0.2, 3])
def test_fewest_sets_and_least_padding(seed, limit):
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 9, rng.integers(1, 10)).tolist()
    padded = padded_rows(rows, limit)
    assert all(new >= old and new in rows for new, old in zip(padded, rows, strict=True))
    assert (len(set(padded)), sum(padded) - sum(rows)) == best_by_trial(rows, limit)


def test_kinds_are_apart_and_texts_follow():
    sizes = {
        "a": Size(20, 3),
        "b": Size(19, 5),
        "c": Size(18, 0),
        "d": Size(20, 0),
        "e": Size(1, 9),
    }
    kinds = {"a": "x", "b": "x", "c": None, "d": None, "e": "x"}
    padded = alike_sizes(kinds, sizes, 0.1)
    assert padded == {**sizes, "a": Size(20, 5), "b": Size(20, 5)}


CLASSES = ("a", "b", "c")
ROWS = {"first": 20, "second": 19, "third": 20, "tags": 7, "stars": 3}


@pytest.fixture(scope="module")
def model():
    """Three tasks of one kind whose batches differ by a row and in texts, and two others."""
    names = ("first", "second", "third")
    tasks = [Task(name, name, "classification", "text", "label") for name in names]
    outputs = {
        name: Output(3, CLASSES, class_weights=(1.0, 2.0, 0.5 + i)) for i, name in enumerate(names)
    }
    return on_devices.make(
        on_devices.configuration("linear", heads=HeadsConfig(dropout=0.3), dropout=0.2),
        [*tasks, on_devices.TAGS, on_devices.STARS],
        outputs={**on_devices.OUTPUTS, **outputs},
    )


@pytest.fixture(scope="module")
def batch(model):
    rows = {f"of_{name}": count for name, count in ROWS.items()}
    batch = on_devices.fill(abstract_batch(model.layout, rows), np.random.default_rng(0))
    # A text more in one group, and a task without any target.
    for name in ("targets", "weights"):
        values = batch["of_first"][name]
        values["first"] = np.concatenate([values["first"], values["first"][:, :1]], axis=1)
    batch["of_third"]["weights"]["third"][:] = 0
    return batch


def of_all(model, params, batch, alike):
    examples = model_functions.examples(model, ONE_PROGRAM, batch, alike=alike)
    parts = (params["shared"], params["heads"], examples)
    encoders = model_functions.encoders(model, ONE_PROGRAM)
    heads = model_functions.heads(model, ONE_PROGRAM, alike=alike)
    return encoders, heads, *parts


def test_tasks_of_one_kind_become_one_set(model, batch):
    arguments = of_all(model, random_params(model), batch, True)
    sets = alike_groups(make_problem(*arguments, None))
    assert sets == [["of_first", "of_second", "of_third"], ["of_stars"], ["of_tags"]]
    apart = alike_groups(make_problem(*of_all(model, random_params(model), batch, False), None))
    assert len(apart) == 5


def test_padding_changes_no_loss_and_no_gradient(model, batch):
    """Nor what rows draw at random."""

    def run(params, alike):
        key = jax.random.key(1)
        return gradients.task_gradients(*of_all(model, params, batch, alike), key=key)

    run, params = jax.jit(run, static_argnums=1), random_params(model)
    found, expected = run(params, True), run(params, False)
    assert found.losses[2] == 0 and (np.asarray(found.losses)[[0, 1, 3, 4]] > 0).all()
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * max(1, np.abs(b).max()))
