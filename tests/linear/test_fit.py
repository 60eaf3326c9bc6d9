import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression, MultiTaskElasticNet
from sklearn.svm import SVC, LinearSVC

from mtljax import linear
from tests.linear.problems import ADJACENCY, CASES, NUM_TASKS, Sample, sample

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
jitted = jax.jit(linear.fit, static_argnames=("num_tasks", "loss", "intercept"))


def penalty(ridge=0.0, graph=0.0, **norm) -> linear.Omega:
    if graph:
        return linear.graph_laplacian(ADJACENCY, graph, ridge)
    return linear.Omega(ridge=ridge, **norm)


def solved(
    data: Sample, loss: str, omega: linear.Omega, start: Any = (0.0, 0.0), **options: Any
) -> linear.Solution:
    """In float64, from some weights and intercepts: one program for problems of one kind."""
    weights, intercept = start
    first = np.zeros((NUM_TASKS, data.features.shape[1])) + weights, np.zeros(NUM_TASKS) + intercept
    with jax.enable_x64(True):
        fitted = jitted(
            data.features, data.targets, data.task, num_tasks=NUM_TASKS, loss=loss, omega=omega,
            alpha=data.alpha, start=linear.Solution(*first, 0.0, 0.0, 0),
            **{"tolerance": 1e-8, "max_steps": 5000, **options},
        )  # fmt: skip
        assert fitted.weights.dtype == jnp.float64
        return jax.tree.map(np.asarray, fitted)


def fitted_case(name: str, **options: Any) -> linear.Solution:
    loss, kind, arguments = CASES[name]
    return solved(sample(kind), loss, penalty(**arguments), **options)


def objective(data: Sample, loss: str, omega: linear.Omega, weights, intercept) -> float:
    """In NumPy, from the definitions."""
    scores = np.sum(data.features * weights[data.task], 1) + intercept[data.task]
    margins = (2 * data.targets - 1) * scores
    losses = {
        "logistic": np.logaddexp(0, -margins),
        "hinge": np.maximum(0, 1 - margins),
        "squared_hinge": np.maximum(0, 1 - margins) ** 2,
        "squared": (scores - data.targets) ** 2,
    }[loss]
    singular = np.linalg.svd(weights, compute_uv=False)
    norm = {
        "none": 0.0,
        "l1": np.abs(weights).sum(),
        "groups": np.linalg.norm(weights, axis=0).sum(),
        "trace": singular.sum(),
        "squared_trace": singular.sum() ** 2 / 2,
    }[omega.norm]
    matrix = omega.ridge * np.eye(NUM_TASKS)
    if omega.relation is not None:
        matrix = matrix + omega.relation
    quadratic = np.trace(weights.T @ matrix @ weights) / 2
    return float(data.alpha @ losses + quadratic + omega.strength * norm)


@pytest.mark.parametrize("name", CASES)
def test_the_optimum_of_another_solver_is_reached(name):
    loss, kind, arguments = CASES[name]
    fitted = fitted_case(name)
    assert fitted.objective == pytest.approx(GOLDEN[name], rel=1e-6)
    own = objective(sample(kind), loss, penalty(**arguments), fitted.weights, fitted.intercept)
    assert fitted.objective == pytest.approx(own, rel=1e-10)
    # The gap is a proof: the optimum is not below what it says, and it is as small as asked for.
    assert fitted.objective - fitted.gap <= GOLDEN[name] * (1 + 2e-7)
    assert fitted.gap <= 1e-8 * fitted.objective
    # So it is where nothing has been solved.
    for start in (0.0, 1.0):
        before = fitted_case(name, start=(start, start), max_steps=0)
        assert before.steps == 0 and before.objective > 1.01 * GOLDEN[name]
        assert before.objective - before.gap <= GOLDEN[name]


def test_scikit_learn():
    """Each task by itself: unweighted, and with weights of which some are 0."""
    data = sample()
    ones = np.ones(len(data.task))
    there = np.arange(len(data.task)) % 3 > 0
    signs = 2 * data.targets - 1
    for alpha in (ones, np.where(there, data.alpha, 0)):
        ours = solved(data._replace(alpha=alpha), "logistic", linear.l2(1.0), tolerance=1e-12)
        for task in range(NUM_TASKS):
            alone = (data.task == task) & (alpha > 0)
            theirs = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10)
            theirs.fit(data.features[alone], data.targets[alone], sample_weight=alpha[alone])
            np.testing.assert_allclose(ours.weights[task], theirs.coef_[0], atol=2e-5)
            np.testing.assert_allclose(ours.intercept[[task]], theirs.intercept_, atol=2e-5)
    plain = data._replace(alpha=ones)
    edgeless = linear.graph_laplacian(np.zeros((NUM_TASKS, NUM_TASKS)), 1.0, 1.0)
    for loss, intercept, omega in (
        ("hinge", True, edgeless),
        ("squared_hinge", False, linear.l2(1.0)),
    ):
        expected = 0.0
        for task in range(NUM_TASKS):
            alone = data.task == task
            features, targets = data.features[alone], data.targets[alone].astype(int)
            if intercept:
                theirs = SVC(C=1.0, kernel="linear", tol=1e-10).fit(features, targets)
            else:
                theirs = LinearSVC(C=1.0, fit_intercept=False, tol=1e-10, max_iter=10**6)
                theirs.fit(features, targets)
            slack = np.maximum(0, 1 - signs[alone] * theirs.decision_function(features))
            expected += (slack ** (1 + (loss == "squared_hinge"))).sum()
            expected += np.sum(theirs.coef_**2) / 2
        options = {"tolerance": 1e-9} if intercept else {"tolerance": 1e-9, "intercept": False}
        ours = solved(plain, loss, omega, **options)
        assert float(ours.objective) == pytest.approx(expected, rel=1e-6)
    rng = np.random.default_rng(3)
    features = rng.normal(size=(40, 7))
    answers = features @ (rng.normal(size=(7, 3)) * (np.arange(7) < 3)[:, None])
    answers = answers + 0.3 * rng.normal(size=answers.shape)
    scale = 2 * len(features) * 0.3
    with jax.enable_x64(True):
        ours = jitted(
            np.tile(features, (3, 1)), answers.T.reshape(-1), np.repeat(np.arange(3), 40),
            num_tasks=3, loss="squared", omega=linear.task_groups(scale * 0.7, scale * 0.3),
            tolerance=1e-12,
        )  # fmt: skip
        theirs = MultiTaskElasticNet(alpha=0.3, l1_ratio=0.7, tol=1e-12).fit(features, answers)
        np.testing.assert_allclose(ours.weights, theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(ours.intercept, theirs.intercept_, atol=1e-6)
        # Features that no task wants are exactly 0, those of others are not.
        np.testing.assert_array_equal(ours.weights != 0, theirs.coef_ != 0)


def test_sparse_features_and_float32():
    data = sample()
    features = data.features * (np.random.default_rng(1).random(data.features.shape) < 0.4)
    entries = linear.from_scipy(scipy.sparse.csc_matrix(features))
    sparse = jitted(
        entries, data.targets, data.task, num_tasks=NUM_TASKS, omega=linear.l2(0.5),
        alpha=data.alpha, tolerance=2e-6,
    )  # fmt: skip
    dense = solved(data._replace(features=features), "logistic", linear.l2(0.5))
    assert sparse.weights.dtype == jnp.float32
    assert float(sparse.gap) <= 2e-6 * float(sparse.objective)
    np.testing.assert_allclose(sparse.weights, dense.weights, atol=2e-3)
    np.testing.assert_allclose(
        linear.scores(entries, jnp.float32(dense.weights), jnp.asarray(data.task)),
        np.sum(features * dense.weights[data.task], 1),
        atol=1e-5,
    )


def test_shared_and_own_features_are_a_relation():
    """Daume's copies of features, fitted by scikit-learn: the same model as `mean_regularized`."""
    data = sample()
    own, shared = 2.0, 0.5
    copies = np.zeros((len(data.task), NUM_TASKS + 1, data.features.shape[1]))
    copies[:, 0] = data.features / np.sqrt(shared)
    copies[np.arange(len(data.task)), 1 + data.task] = data.features / np.sqrt(own)
    copies = copies.reshape(len(data.task), -1)
    relation = solved(
        data, "logistic", linear.mean_regularized(own, shared, NUM_TASKS), intercept=False
    )
    copied = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    copied.fit(copies, data.targets, sample_weight=data.alpha)
    losses = np.logaddexp(0, (1 - 2 * data.targets) * (copies @ copied.coef_[0]))
    parts = copied.coef_.reshape(NUM_TASKS + 1, -1)
    both = parts[0] / np.sqrt(shared) + parts[1:] / np.sqrt(own)
    expected = data.alpha @ losses + np.sum(parts**2) / 2
    assert float(relation.objective) == pytest.approx(expected, rel=1e-7)
    np.testing.assert_allclose(relation.weights, both, atol=1e-3)


def test_wide_weights_that_begin_at_zero():
    """XLA's product of a matrix and a wide constant of zeros is not zeros, on a CPU."""
    entries = linear.from_scipy(scipy.sparse.eye_array(20, 20_000))
    omega = linear.mean_regularized(1.0, 0.25, 16)
    fitted = jitted(
        entries, np.arange(20) % 2, np.arange(20) % 16, num_tasks=16, loss="hinge",
        intercept=False, max_steps=40, omega=omega,
    )  # fmt: skip
    assert int(fitted.steps) < 40
    # Each sample has a feature of its own: the score v costs v^2 / 2, over its task's variance.
    variances = np.diagonal(np.linalg.inv(omega.matrix(16, np.float32)))[np.arange(20) % 16]
    scores = np.minimum(1, variances)
    expected = np.sum(1 - scores + scores**2 / (2 * variances))
    np.testing.assert_allclose(fitted.objective, expected, rtol=1e-5)


def test_copies_of_features_take_no_more_steps():
    """In the span of the samples: copies of the features change no step."""
    data = sample()
    copies = np.repeat(data.features, 50, axis=1) / np.sqrt(50)
    found = [
        solved(data._replace(features=x), "logistic", linear.l2(0.1), tolerance=1e-7)
        for x in (data.features, copies)
    ]
    np.testing.assert_allclose(found[1].objective, found[0].objective, rtol=1e-8)
    assert int(found[0].steps) == int(found[1].steps)


def test_a_start_saves_steps():
    first = fitted_case("logistic l1")
    again = fitted_case("logistic l1", start=(first.weights, first.intercept))
    assert int(first.steps) > 0 == int(again.steps)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"loss": "huber"}, "loss must be one of"),
        ({"omega": linear.l2(0.0)}, "a ridge above 0, a relation or a norm"),
        ({"alpha": [1.0]}, r"alpha must be \[120\]"),
        ({"targets": [1.0]}, r"targets must be \[120\]"),
        ({"features": np.ones((120, 2), int)}, "features must be"),
        ({"targets": np.repeat([-1.0, 1.0], 60)}, "targets: must be 0 and 1"),
        ({"targets": np.full(120, np.nan), "loss": "squared"}, "targets: must be finite"),
        ({"task": np.full(120, 4)}, r"task: must be in \[0, 4\)"),
        ({"alpha": np.full(120, -1.0)}, "alpha: must be finite"),
        ({"num_tasks": 3, "omega": linear.graph_laplacian(ADJACENCY, 1.0, 1.0)}, "relation of 3"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    data = sample()
    arguments = {**data._asdict(), "num_tasks": NUM_TASKS, "omega": linear.l2(1.0), **change}
    with pytest.raises(ValueError, match=message):
        linear.fit(**arguments)


def test_penalties_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="symmetric"):
        linear.graph_laplacian([[0, 1], [0, 0]], 1.0, 1.0)
    with pytest.raises(ValueError, match="T, T"):
        linear.graph_laplacian([1, 2], 1.0, 1.0)
    with pytest.raises(ValueError, match="above 0"):
        linear.mean_regularized(0.0, 1.0, 3)
