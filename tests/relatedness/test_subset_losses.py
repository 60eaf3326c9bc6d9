"""Losses of subsets of tasks, predicted at one model, against models that are trained on them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from scipy.optimize import minimize
from scipy.stats import spearmanr

from mtljax.relatedness import Linearized, class_margin, linearize, subset_losses

TASKS, FEATURES, TRAIN = 4, 12, 40


@pytest.fixture(scope="module")
def examples():
    """Two families of two tasks, of which the second wants the opposite of the first."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=FEATURES)
    made = []
    for count in (TRAIN, 200):
        x = generator.normal(size=(TASKS * count, FEATURES))
        task = np.repeat(np.arange(TASKS), count)
        noise = generator.normal(size=len(x))
        sign = np.where(task < 2, 1, -1)
        made.append((x, (sign * (x @ truth) + noise > 0).astype(int), task))
    return made


compiled = jax.jit(subset_losses, static_argnames="loss")


def fit(x, y, weights, ridge, start):
    """Weighted logistic regression with a penalty on the distance from a start."""

    def objective(w):
        margins = np.where(y == 1, x @ w, -(x @ w))
        penalty = ridge / 2 * np.sum((w - start) ** 2)
        return weights @ np.logaddexp(0, -margins) + penalty

    return minimize(objective, start, method="BFGS", options={"gtol": 1e-9}).x


def test_a_linear_model_is_predicted_exactly(examples):
    """There the linearization is exact: the predictions are those of models that are trained."""
    (x, y, task), (held_x, held_y, held_task) = examples
    start = fit(x, y, np.full(len(x), 1 / len(x)), 1e-2, np.zeros(FEATURES))
    subsets = [s for s in itertools.product([False, True], repeat=TASKS) if any(s)]

    def seen(x, y, task):
        signs = np.where(y == 1, 1.0, -1.0)
        return Linearized(signs * (x @ start), signs[:, None] * x, task)

    with jax.enable_x64(True):
        train, held_out = seen(x, y, task), seen(held_x, held_y, held_task)
        found = compiled(train, held_out, np.array(subsets), ridges=np.array([1e-3]))
    scale = np.mean(np.sum(x**2, axis=1))
    for subset, losses in zip(subsets, found.losses, strict=True):
        chosen = np.array(subset)[task]
        w = fit(x, y, chosen / chosen.sum(), 1e-3 * scale, start)
        margins = np.where(held_y == 1, 1, -1) * (held_x @ w)
        expected = [np.logaddexp(0, -margins[held_task == i]).mean() for i in range(TASKS)]
        np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_the_ridge_is_best_for_the_tasks_of_the_subset(examples):
    (x, y, task), (held_x, held_y, held_task) = examples
    signs, held_signs = (np.where(of == 1, 1.0, -1.0)[:, None] for of in (y, held_y))
    train, held_out = (
        Linearized(np.zeros(len(rows), np.float32), np.float32(sign * rows), of)
        for sign, rows, of in ((signs, x, task), (held_signs, held_x, held_task))
    )
    subsets = np.array([[True, True, False, False], [True] * 4])
    ridges = np.array([1.0, 0.1, 1e-4], np.float32)
    # A ridge alone is one that is there three times.
    chosen, *alone = (
        jax.device_get(compiled(train, held_out, subsets, ridges=each))
        for each in (ridges, *ridges.repeat(3).reshape(3, 3))
    )
    for row, subset in enumerate(subsets):
        scores = [one.losses[row][subset].mean() for one in alone]
        np.testing.assert_allclose(chosen.losses[row][subset].mean(), min(scores), rtol=1e-4)
        np.testing.assert_allclose(chosen.ridge[row], ridges[int(np.argmin(scores))])


def test_a_network_is_predicted_from_projected_gradients(examples):
    """Ranks of trained networks' losses, over subsets, are those of the predictions."""
    (x, y, task), (held_x, held_y, held_task) = (
        (x.astype(np.float32), y, task) for x, y, task in examples
    )
    generator = np.random.default_rng(0)
    params = {
        "hidden": np.float32(generator.normal(size=(FEATURES, 64)) / FEATURES**0.5),
        "out": np.float32(generator.normal(size=(64, 2)) / 8),
    }

    def margin(params, example):
        x, label = example
        return class_margin(jnp.tanh(x @ params["hidden"]) @ params["out"], label)

    def loss(params, weights):
        margins = jax.vmap(margin, (None, 0))(params, (x, y))
        return weights @ jax.nn.softplus(-margins)

    held_out_of = np.eye(TASKS)[held_task].T / np.bincount(held_task)[:, None]

    def losses_of_tasks(params):
        margins = jax.vmap(margin, (None, 0))(params, (held_x, held_y))
        return held_out_of @ jax.nn.softplus(-margins)

    @jax.jit
    def trained(params, weights):
        """The last parameters, and the losses of all tasks at every step."""

        def step(params, _):
            gradient = jax.grad(loss)(params, weights)
            params = jax.tree.map(lambda w, g: w - 0.2 * g, params, gradient)
            return params, losses_of_tasks(params)

        return jax.lax.scan(step, params, length=100)

    base, _ = trained(params, np.full(len(x), 1 / len(x), np.float32))
    subsets = np.array([s for s in itertools.product([False, True], repeat=TASKS) if any(s)])

    @jax.jit
    def predicted(base):
        train = linearize(margin, base, (x, y), task, size=256)
        held_out = linearize(margin, base, (held_x, held_y), held_task, size=256)
        return subset_losses(train, held_out, subsets, ridges=(1e-1, 1e-2, 1e-3))

    estimated, real = [], []
    for subset, losses in zip(subsets, np.asarray(predicted(base).losses), strict=True):
        chosen = subset[task]
        _, history = trained(base, np.float32(chosen / chosen.sum()))
        # A run is taken at its best step for the tasks that it is trained on.
        history = np.asarray(history)
        at_best = history[np.argmin(history[:, subset].mean(1))]
        estimated += losses[subset].tolist()
        real += at_best[subset].tolist()
    assert spearmanr(estimated, real).statistic > 0.9
    assert np.mean(np.abs(np.array(estimated) / np.array(real) - 1)) < 0.05


def test_margins_are_those_of_the_cross_entropy():
    logits = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    labels = np.array([0, 4, 2, 2, 1, 3])
    margin = jax.jit(class_margin)
    losses = np.logaddexp(0, -np.float64(margin(logits, labels)))
    expected = -special.log_softmax(np.float64(logits), axis=1)[np.arange(6), labels]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    one = logits[:, :1]
    two = np.concatenate([np.zeros_like(one), one], axis=1)
    np.testing.assert_allclose(margin(one, labels % 2), margin(two, labels % 2), rtol=1e-6)


def test_residuals_are_regressions():
    generator = np.random.default_rng(2)
    x, y = generator.normal(size=(30, 3)), generator.normal(size=30)
    seen = Linearized(-y, x, np.zeros(30, int))
    subsets, ridges = np.array([[True]]), np.array([1e-6])
    found = compiled(seen, seen, subsets, ridges=ridges, loss="squared")
    residuals = x @ np.linalg.lstsq(x, y, rcond=None)[0] - y
    np.testing.assert_allclose(found.losses[0, 0], np.mean(residuals**2) / 2, rtol=1e-4)


def test_a_task_without_held_out_examples_has_no_loss():
    seen = Linearized(np.ones(4), np.ones((4, 2)), np.array([0, 0, 1, 1]))
    held_out = Linearized(np.ones(1), np.ones((1, 2)), np.array([0]))
    found = np.asarray(compiled(seen, held_out, np.array([[True, True]])).losses)[0]
    assert np.isfinite(found[0])
    assert np.isnan(found[1])


@pytest.mark.parametrize(
    ("subsets", "options", "message"),
    [
        ([True], {}, "subsets must be"),
        ([[True]], {"loss": "hinge"}, "loss must be one of logistic, squared"),
    ],
)
def test_what_cannot_be_predicted_is_refused(subsets, options, message):
    seen = Linearized(np.ones(2), np.ones((2, 2)), np.array([0, 0]))
    with pytest.raises(ValueError, match=message):
        subset_losses(seen, seen, subsets, **options)
