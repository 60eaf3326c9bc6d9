import numpy as np
import pytest

from mtljax import linear
from tests.linear.problems import GROUPS, OPPOSED, planted


def test_a_planted_relation_is_recovered():
    """Ten seeds: three groups, and one task that wants the opposite of the first."""
    for seed in range(10):
        features, targets, task = planted(seed)
        arguments = (features.astype("float32"), targets, task)
        options = dict(num_tasks=8, ridge=1.0, strength=3.0)
        clustered = linear.fit_clusters(*arguments, num_clusters=4, **options)
        np.testing.assert_array_equal(clustered.clusters, [*GROUPS, 3])
        graph = linear.fit_graph(*arguments, spread=2.0, **options)
        expected = np.equal.outer(GROUPS, GROUPS) & ~np.eye(OPPOSED, dtype=bool)
        edges = graph.edges[:OPPOSED, :OPPOSED]
        assert edges[expected].min() > 0.3 and np.abs(edges[~expected]).max() < 0.1
        assert graph.edges[OPPOSED, :3].max() < -0.3
        assert np.abs(graph.edges[OPPOSED, 3:]).max() < 0.1
        np.testing.assert_allclose(np.abs(graph.edges[np.triu_indices(8)]).sum(), 8)


def test_the_edges_are_the_best_ones():
    rng = np.random.default_rng(0)
    weights, spread = rng.normal(size=(5, 4)), 0.7

    def penalty(edges):
        total = 0.0
        for i in range(5):
            for j in range(i):
                apart = weights[i] - np.sign(edges[i, j]) * weights[j]
                total += abs(edges[i, j]) * apart @ apart + spread * edges[i, j] ** 2
        return total

    best = linear.best_edges(weights, spread)
    np.testing.assert_allclose(np.abs(best).sum() / 2, 5)
    np.testing.assert_array_equal(best, best.T)
    worse = []
    for _ in range(200):
        other = best + 0.3 * rng.normal(size=best.shape) * (rng.random(best.shape) < 0.3)
        other = np.triu(other, 1)
        other = other + other.T
        worse.append(penalty(other * 10 / np.abs(other).sum()) - penalty(best))
    assert min(worse) > -1e-12 and max(worse) > 0.1


def test_clusters_in_the_limit():
    """One cluster is `mean_regularized`'s distance to the mean; as many as tasks are none."""
    features, targets, task = planted(0)
    options = dict(num_tasks=8, ridge=0.5, strength=3.0)
    one = linear.fit_clusters(features.astype("float32"), targets, task, num_clusters=1, **options)
    weights = np.asarray(one.solution.weights, float)
    apart = np.sum((weights - weights.mean(0)) ** 2)
    scores = np.sum(features * weights[task], 1) + np.asarray(one.solution.intercept)[task]
    losses = np.logaddexp(0, -(2 * targets - 1) * scores).sum()
    expected = losses + 0.25 * np.sum(weights**2) + 1.5 * apart
    assert float(one.solution.objective) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "function, change, message",
    [
        (linear.fit_clusters, {"num_clusters": 3}, r"num_clusters must be in \[1, 2\]"),
        (linear.fit_clusters, {"num_clusters": 1, "ridge": 0.0}, "ridge must be above 0"),
        (linear.fit_graph, {"spread": 0.0}, "spread must be above 0"),
        (linear.fit_graph, {"spread": 1.0, "num_tasks": 1}, "num_tasks must be 2 or more"),
    ],
)
def test_what_makes_no_sense_is_named(function, change, message):
    arguments = {"num_tasks": 2, "ridge": 1.0, "strength": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        function(np.ones((2, 1), "float32"), [0, 1], [0, 0], **arguments)


def test_a_figure():
    figure = linear.draw_relation(np.array([[1.0, -0.5], [-0.5, 1.0]]), ["one", "two"])
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), [[1, -0.5], [-0.5, 1]])
    assert image.get_clim() == (-1, 1)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "two"]
    with pytest.raises(ValueError, match="relation of 1 names"):
        linear.draw_relation(np.eye(2), ["one"])
