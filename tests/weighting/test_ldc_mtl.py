"""LDC-MTL against Adam on finite differences of its objective."""

from itertools import combinations

import numpy as np
import pytest

from mtljax.weighting.ldc_mtl import ldc_mtl
from tests.weighting.steps import Adam, derivative, softmax, steps

STRONG = {relative: ldc_mtl(0.5, relative=relative) for relative in (False, True)}


def objective(xi, losses, lam, pairs):
    weighted = softmax(xi) * losses
    if pairs == "next":
        return weighted.sum() + lam * np.abs(np.diff(weighted)).sum()
    apart = sum(abs(a - b) for a, b in combinations(weighted, 2))
    return weighted.sum() + lam * 2 / len(losses) * apart


def transcript(rows, lam, lr, pairs="next", units=1.0):
    xi, adam, found = np.zeros(rows.shape[1]), Adam(lr), []
    for losses in rows:
        found.append(derivative(lambda x, s=xi: objective(s, x / units, lam, pairs), losses))
        slope = derivative(lambda s, x=losses: objective(s, x / units, lam, pairs), xi)
        xi = xi + adam.step(slope)
    return np.stack(found)


@pytest.mark.parametrize("pairs", ["next", "all"])
@pytest.mark.parametrize("lam", [0.0, 0.1, 0.5])
def test_equals_the_transcript(rng, pairs, lam):
    rows = rng.uniform(0.1, 5, (15, 4))
    found, _ = steps(ldc_mtl(lam, 0.1, pairs), rows)
    np.testing.assert_allclose(found, transcript(rows, lam, 0.1, pairs), rtol=1e-5, atol=1e-8)


def test_relative_to_the_first_losses(rng):
    rows = rng.uniform(0.1, 5, (8, 3))
    rows[0, 1] = 0.0  # its unit is then the size of the second
    units = np.abs([rows[0, 0], rows[1, 1], rows[0, 2]])
    found, end = steps(ldc_mtl(0.2, 0.1, relative=True), rows)
    np.testing.assert_allclose(end.first, units, rtol=1e-12)
    rows[0, 1] = 1e-12
    expected = transcript(rows[1:], 0.2, 0.1, units=units)
    start = ldc_mtl().init(3)._replace(first=units)
    found, _ = steps(ldc_mtl(0.2, 0.1, relative=True), rows[1:], start)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_all_pairs_do_not_know_the_order_of_the_tasks(rng):
    rows = rng.uniform(0.1, 5, (5, 4))
    order = rng.permutation(4)
    found, _ = steps(ldc_mtl(0.3, 0.1, "all"), rows)
    permuted, _ = steps(ldc_mtl(0.3, 0.1, "all"), rows[:, order])
    np.testing.assert_allclose(permuted, found[:, order], rtol=1e-12)


def test_neighbours_are_those_that_are_present(rng):
    rows = rng.uniform(0.1, 5, (5, 4))
    here = np.array([[True, False, True, True]] * 5)
    found, _ = steps(ldc_mtl(0.3, 0.1), rows, mask=here)
    alone, _ = steps(ldc_mtl(0.3, 0.1), rows[:, here[0]])
    np.testing.assert_allclose(found[:, here[0]], alone, rtol=1e-12)
    assert (found[:, 1] == 0).all()


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("size", [-3e38, -1.0, 0.0, 1e-38, 1e-30, 1e30, 3e38])
def test_losses_of_any_size(size, relative):
    found, end = steps(
        STRONG[relative], np.array([[size] * 3, [0.0, 1.0, size]] * 2), dtype="float32"
    )
    assert np.isfinite(found).all() and (found >= 0).all()
    assert all(np.isfinite(leaf).all() for leaf in (end.logits, *end.adam, end.first))
    unit = abs(size) if relative and size else 1
    if 1e-37 < unit < 1e37:  # else the weights 1/unit are no normal numbers
        np.testing.assert_allclose(found[0] * unit, 1 / 3, rtol=1e-5)


def test_one_task():
    np.testing.assert_allclose(steps(ldc_mtl(0.5), np.array([[3.0], [1.0]]))[0], 1)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: ldc_mtl(lam=0.6), "lam"),
        (lambda: ldc_mtl(lam=-0.1), "lam"),
        (lambda: ldc_mtl(lr=0.0), "lr"),
        (lambda: ldc_mtl(pairs="some"), "pairs"),
    ],
)
def test_wrong_arguments_are_named(call, names):
    with pytest.raises(ValueError, match=names):
        call()
