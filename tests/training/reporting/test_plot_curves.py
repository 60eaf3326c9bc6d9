import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtljax.errors import UserError
from mtljax.training.persistence import run_directory
from mtljax.training.reporting.metrics_file import MetricsFile
from mtljax.training.reporting.plot_curves import draw_curves

pytest.importorskip("matplotlib")


@pytest.fixture
def figure(monkeypatch):
    """The figure that was saved last."""
    from matplotlib.figure import Figure

    found = []
    original = Figure.savefig

    def savefig(self, *args, **kwargs):
        found.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return lambda: found[-1]


@pytest.fixture
def run(make, plain, tmp_path):
    """A run directory with metrics of some steps."""

    def write(tasks, lines, summary=None):
        _, data = make(plain, tasks)
        run_directory.write_run(tmp_path, plain, tasks, data)
        file = MetricsFile(tmp_path, -1)
        for line in lines:
            file.write(*line)
        file.close()
        if summary:
            run_directory.write_summary(tmp_path, summary)
        return tmp_path

    return write


def panels(figure):
    """Titled panels, and the axes on their right, by title."""
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    found, last = {}, ""
    for title, axes in zip(titles, figure.axes, strict=True):
        last = title or last
        found.setdefault(last, []).append(axes)
    return found


LINES = [
    (2, "train", {"loss/label": 0.7, "loss/next": 3.0, "weight/label": 0.5, "weight/next": 0.5}),
    (4, "train", {"loss/label": None, "loss/next": 2.5, "weight/label": 0.0, "weight/next": 1.0}),
    (4, "validation", {"label/accuracy": 0.5, "next/perplexity": 20.0}),
    (6, "train", {"loss/label": 0.5, "loss/next": 2.0, "weight/label": 0.4, "weight/next": 0.6}),
    (6, "validation", {"label/accuracy": 0.75, "next/perplexity": None}),
]


def points(line):
    return [tuple(point) for point in line.get_xydata().tolist()]


def test_what_is_drawn_is_what_was_measured(run, tasks, figure):
    directory = run((tasks["label"], tasks["next"]), LINES, {"best_step": 6})
    path = draw_curves(directory)
    assert path == directory / "curves.png"
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000
    assert not list(directory.glob(".*tmp"))
    shown = panels(figure())
    assert list(shown) == ["label", "next", "weights of the tasks"]
    loss, accuracy = shown["label"]
    assert points(loss.lines[0]) == [(2, 0.7), (6, 0.5)]
    assert points(accuracy.lines[0]) == [(4, 50.0), (6, 75.0)]
    assert accuracy.get_ylabel() == "validation accuracy (%)"
    assert [text.get_text() for text in accuracy.texts] == ["75.0"]
    loss, perplexity = shown["next"]
    assert points(loss.lines[0]) == [(2, 3.0), (4, 2.5), (6, 2.0)]
    assert points(perplexity.lines[0]) == [(4, 20.0)]
    assert perplexity.get_ylabel() == "validation perplexity"
    (weights,) = shown["weights of the tasks"]
    assert points(weights.lines[0]) == [(2, 0.5), (4, 0.0), (6, 0.4)]
    assert [text.get_text() for text in weights.get_legend().get_texts()] == ["label", "next"]
    assert "best checkpoint, step 6" in figure().get_suptitle()


def test_a_run_that_goes_on(run, tasks, figure):
    draw_curves(run((tasks["label"], tasks["next"]), LINES[:1]))
    assert "best" not in figure().get_suptitle() and "2 steps" in figure().get_suptitle()


def test_without_any_metrics(run, tasks, figure):
    assert draw_curves(run((tasks["label"],), [])).exists()
    assert list(panels(figure())) == ["label", "weights of the tasks"]


@pytest.mark.parametrize("count", range(1, 9))
def test_panels_fill_their_rows(run, tasks, figure, count):
    many = tuple(dataclasses.replace(tasks["label"], name=f"t{i}") for i in range(count))
    draw_curves(run(many, []))
    assert len(panels(figure())) == count + 1
    spans = [axes.get_subplotspec() for axes in figure().axes if axes.get_title(loc="left")]
    cells = sum(spec.num2 - spec.num1 + 1 for spec in spans)
    rows, columns = spans[0].get_gridspec().get_geometry()
    assert cells == rows * columns


def test_pyplot_is_left_alone(run, tasks):
    directory = run((tasks["label"],), LINES[:1])
    code = (
        "import sys; from mtljax.training.reporting.plot_curves import draw_curves; "
        "assert 'matplotlib' not in sys.modules; "
        f"draw_curves({str(directory)!r}); print('matplotlib.pyplot' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert found.stdout == "False\n", found.stderr


def test_no_run_no_curves(tmp_path):
    with pytest.raises(UserError, match="no run there"):
        draw_curves(tmp_path)
    assert not list(tmp_path.iterdir())


def test_matplotlib_is_an_extra(run, tasks, monkeypatch):
    directory = run((tasks["label"],), LINES)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError) as error:
        draw_curves(directory)
    assert (error.value.name or "").startswith("matplotlib")
    assert not (directory / "curves.png").exists()


def test_learned_rates_have_a_panel(run, tasks, figure):
    chosen = [tasks["label"], tasks["tags"]]
    rates = [
        (step, "train", {"rate/label": step / 4, "rate/tags": 1 - step / 4}) for step in (1, 2)
    ]
    draw_curves(run(chosen, rates))
    (axes,) = panels(figure())["rates of the tasks' input groups"]
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert drawn == {"label": [0.25, 0.5], "tags": [0.75, 0.5]}
