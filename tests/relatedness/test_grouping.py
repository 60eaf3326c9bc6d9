"""Groupings against all partitions there are, on planted families, under constraints."""

import importlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax.relatedness import best_grouping, best_partition, group_gains

grouping_module = importlib.import_module("mtljax.relatedness.grouping")


def all_partitions(count, groups):
    """Labels of every partition of so many tasks into at most so many groups."""
    for labels in itertools.product(range(groups), repeat=count):
        highest = -1
        for label in labels:
            if label > highest + 1:
                break
            highest = max(highest, label)
        else:
            yield np.array(labels)


def total(affinity, labels):
    """The total gain, by its definition."""
    gain = 0.0
    for task, group in enumerate(labels):
        company = [other for other, g in enumerate(labels) if g == group]
        gain += np.mean([affinity[other, task] for other in company])
    return gain


def planted(seed, families=(4, 3, 3), noise=0.1):
    """Tasks of some families that help each other and hurt the others, in a random order."""
    generator = np.random.default_rng(seed)
    family = generator.permutation(np.repeat(np.arange(len(families)), families))
    affinity = np.where(family[:, None] == family, 0.5, -0.5)
    affinity = affinity + noise * generator.normal(size=affinity.shape)
    np.fill_diagonal(affinity, 0)
    return affinity, family


def same_groups(one, other):
    return np.array_equal(one[:, None] == one, other[:, None] == other)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6))
def test_no_partition_is_better(seed, count, groups):
    affinity = np.random.default_rng(seed).normal(size=(count, count))
    found = best_grouping(affinity, groups)
    best = max(total(affinity, labels) for labels in all_partitions(count, groups))
    np.testing.assert_allclose(found.total, best, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.total, total(affinity, found.labels), atol=1e-12)
    np.testing.assert_allclose(found.gains, group_gains(affinity, found.labels))
    assert found.bound == found.total
    assert len(set(found.labels.tolist())) <= groups


@pytest.mark.parametrize("seed", range(10))
def test_planted_families_are_found(seed):
    affinity, family = planted(seed)
    found = best_grouping(affinity, 5)
    assert same_groups(found.labels, family)


@pytest.mark.parametrize("seed", range(10))
def test_many_tasks_of_planted_families_are_found_by_search(seed):
    affinity, family = planted(seed, families=(9, 8, 7, 6))
    found = best_grouping(affinity, 6, seed=seed)
    assert same_groups(found.labels, family)
    assert found.total <= found.bound


def test_searches_keep_below_their_bound_and_mostly_find_the_best():
    solved = 0
    for seed in range(20):
        affinity = np.random.default_rng(seed).normal(size=(7, 7))
        groups = 1 + seed % 4
        free = np.ones((7, 7), bool)
        labels, value = grouping_module._search(affinity, np.ones(7), free, groups, seed)
        best = best_grouping(affinity, groups).total
        np.testing.assert_allclose(value, total(affinity, labels), atol=1e-12)
        assert value <= best + 1e-9
        assert best <= grouping_module._upper_bound(affinity, groups) + 1e-9
        solved += value >= best - 1e-9
    assert solved >= 18


@pytest.mark.parametrize("count", [6, 14])
def test_pairs_stay_together_and_apart(count):
    affinity = np.random.default_rng(count).normal(size=(count, count))
    free = best_grouping(affinity, 3)
    together, apart = [(0, 3), (3, 4)], [(1, 2), (0, 5)]
    found = best_grouping(affinity, 3, together=together, apart=apart)
    assert all(found.labels[i] == found.labels[j] for i, j in together)
    assert all(found.labels[i] != found.labels[j] for i, j in apart)
    assert found.total <= free.bound
    if count == 6:
        fits = [
            total(affinity, labels)
            for labels in all_partitions(count, 3)
            if all(labels[i] == labels[j] for i, j in together)
            and all(labels[i] != labels[j] for i, j in apart)
        ]
        np.testing.assert_allclose(found.total, max(fits))


def test_draws_give_standard_errors():
    generator = np.random.default_rng(0)
    draws = generator.normal(0.3, 0.1, size=(50, 4, 4))
    found = best_grouping(draws, 1)
    np.testing.assert_allclose(found.gains, draws.mean(0).mean(0))
    expected = draws.mean(1).std(0, ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(found.errors, expected)
    assert best_grouping(draws[0], 1).errors is None


def test_any_value_of_a_subset_has_a_best_partition():
    values = np.random.default_rng(1).normal(size=2**5)
    labels, value = best_partition(values, 3)

    def worth(labels):
        masks = [sum(1 << i for i in range(5) if labels[i] == g) for g in set(labels.tolist())]
        return sum(values[mask] for mask in masks)

    np.testing.assert_allclose(value, worth(labels))
    np.testing.assert_allclose(value, max(worth(p) for p in all_partitions(5, 3)))


@pytest.mark.parametrize(
    ("affinity", "options", "message"),
    [
        (np.zeros((2, 3)), {}, "affinity: must be"),
        (np.full((2, 2), np.nan), {}, "affinity: every entry must be finite"),
        (np.zeros((2, 2)), {"groups": 0}, "groups: must be 1 or more"),
        (np.zeros((3, 3)), {"apart": [(0, 1), (0, 2), (1, 2)]}, "apart: no 2 groups"),
        (np.zeros((3, 3)), {"apart": [(0, 1)], "together": [(0, 1)]}, "apart: tasks 0 and 1"),
    ],
)
def test_what_has_no_grouping_is_refused(affinity, options, message):
    with pytest.raises(ValueError, match=message):
        best_grouping(affinity, **{"groups": 2, **options})


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2)), np.zeros(1)])
def test_values_of_subsets_have_their_number(values):
    with pytest.raises(ValueError, match="2\\*\\*T entries"):
        best_partition(values, 2)
