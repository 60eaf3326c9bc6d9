import numpy as np
import pytest

from mtljax.solvers import UnitGramian
from mtljax.training.reporting.gradient_stats import GradientStats

TASKS = ("a", "b", "c")


def gradients(rows):
    """Norms and cosines of rows ``[3, P]``, by numpy."""
    rows = np.asarray(rows, float)
    norms = np.linalg.norm(rows, axis=1)
    units = rows / np.where(norms > 0, norms, 1)[:, None]
    return UnitGramian(units @ units.T, norms)


def test_means_over_steps():
    telemetry = GradientStats(TASKS)
    telemetry.add(gradients([[1, 0], [0, 2], [-3, 0]]), np.ones(3))
    telemetry.add(gradients([[3, 0], [4, 4], [0, 1]]), np.ones(3))
    values = telemetry.means()
    wanted = np.array([[5.0, 6.0, -1.5], [6.0, 18.0, 2.0], [-1.5, 2.0, 5.0]])
    for i, k in zip(*np.triu_indices(3), strict=True):
        assert values[f"gramian/{TASKS[i]}/{TASKS[k]}"] == pytest.approx(wanted[i, k])
    assert values["gradient_norm/a"] == 2.0 and values["gradient_norm/c"] == 2.0
    assert values["cosine/a/b"] == pytest.approx((0 + 0.5**0.5) / 2)
    assert values["cosine/a/c"] == pytest.approx(-0.5)
    assert values["conflicts"] == pytest.approx(1 / 6)


def test_what_is_absent_does_not_count():
    telemetry = GradientStats(TASKS)
    telemetry.add(gradients([[1, 0], [-1, 0], [0, 1]]), np.array([1, 0, 1]))
    telemetry.add(gradients([[2, 0], [0, 0], [-2, 0]]), np.ones(3))  # b stands still
    telemetry.add(UnitGramian(np.full((3, 3), np.nan), np.full(3, np.nan)), np.ones(3))
    values = telemetry.means()
    assert values["gradient_norm/a"] == 1.5 and values["gradient_norm/b"] == 0.0
    assert "cosine/a/b" not in values
    assert values["gramian/a/b"] == 0.0 and values["gramian/a/a"] == 2.5
    assert values["cosine/a/c"] == -0.5 and values["conflicts"] == 0.5
    assert GradientStats(TASKS).means() == {}
