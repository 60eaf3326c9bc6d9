import numpy as np
import pytest

from mtljax.training.persistence import run_directory
from mtljax.training.reporting.metrics_file import MetricsFile
from mtljax.training.reporting.plot_gradients import NAME, draw_gradients

pytest.importorskip("matplotlib")


@pytest.fixture
def run(make, plain, tasks, tmp_path):
    """A run directory with these lines of metrics."""
    chosen = (tasks["label"], tasks["number"])
    _, data = make(plain, chosen)
    run_directory.write_run(tmp_path, plain, chosen, data)

    def write(lines):
        file = MetricsFile(tmp_path, -1)
        for step, values in enumerate(lines, 1):
            file.write(step, "train", values)
        file.close()
        return tmp_path

    return write


def test_shows_what_was_measured(run, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (drawn.append(self), original(self, *a, **k))
    )
    lines = [
        {
            "gradient_norm/label": 1.0 + step,
            "gradient_norm/number": 0.5,
            "cosine/label/number": -0.25 * step,
            "conflicts": 0.5 * step,
        }
        for step in (0, 1)
    ]
    path = draw_gradients(run([*lines, {"loss/label": 1.0}]))
    assert path is not None and path.name == NAME
    assert path.read_bytes().startswith(b"\x89PNG")
    norms, cosines, conflicts = drawn[0].axes[:3]
    np.testing.assert_array_equal(norms.lines[0].get_xydata(), [[1, 1], [2, 2]])
    assert [text.get_text() for text in norms.get_legend().get_texts()] == ["label", "number"]
    shown = np.ma.filled(cosines.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, [[np.nan, -0.125], [-0.125, np.nan]])
    np.testing.assert_array_equal(conflicts.lines[0].get_ydata(), [0, 50])


def test_nothing_was_measured(run):
    assert draw_gradients(run([{"loss/label": 1.0}])) is None
