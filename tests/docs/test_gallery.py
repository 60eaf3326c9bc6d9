"""Every example runs, and ends where it should."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mtljax.kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs/examples"

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="a source distribution has no examples"
)


def run(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main()


@pytest.mark.parametrize("name", ["own_model", "linen_model", "nnx_model", "equinox_model"])
def test_models_learn(name):
    level, sign = run(name)
    # A constant leaves the variance of the mean of four, 1/4, and the logarithm of 2.
    assert level < 0.05 and sign < 0.2


def test_quantiles_are_found():
    params = run("own_loss")
    found = [float(params[name]) for name in ("low", "middle", "high")]
    np.testing.assert_allclose(found, [1, 5, 9], atol=0.06)


def test_the_worst_task_leads():
    weights, absent, broken = run("own_weighting")
    expected = np.exp(np.array([0.5, 1.0, 2.0]) / 0.5)
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-6)
    np.testing.assert_allclose(absent, [*(expected[:2] / expected[:2].sum()), 0], rtol=1e-6)
    np.testing.assert_allclose(broken, [0.5, 0, 0.5])


def test_the_loop_ends_at_the_mean():
    w, losses = run("own_loop")
    targets = np.array([[1.0, 0.0], [0.8, 0.6], [-0.6, 0.8]])
    np.testing.assert_allclose(w, targets.mean(0), atol=1e-3)
    np.testing.assert_allclose(losses, ((targets.mean(0) - targets) ** 2).sum(1), atol=1e-3)


def test_methods_end_where_no_loss_can_fall():
    for name, points in run("conflict_paths").items():
        x, y = points[-1]
        assert abs(y) < 1e-2 and -1.001 < x < 1.001, name
        assert np.isfinite(points).all()


def test_turned_samples_pull_against_the_rest():
    turned, worst = run("single_samples")
    assert set(turned.tolist()) == set(worst.tolist())


def test_the_relation_of_tasks_is_learned():
    correlation = run("learned_relation")
    inside = [(0, 1), (1, 2), (3, 4), (4, 5), (6, 7)]
    assert min(correlation[i, j] for i, j in inside) > 0.4
    assert max(correlation[8, 6], correlation[8, 7]) < -0.4
    assert abs(correlation[:3, 3:6]).max() < 0.65


def test_families_are_grouped():
    assert sorted(map(sorted, run("task_groups"))) == [["a1", "a2", "a3"], ["b1", "b2", "b3"]]


def test_preferences_are_points_of_the_front():
    found = run("preferences")
    # On the front w = s (1, 1, 1) / sqrt(3), |s| <= 1, where the losses are these.
    s = np.linspace(-1, 1, 4001)
    front = np.stack([1 - np.exp(-((s - 1) ** 2)), 1 - np.exp(-((s + 1) ** 2))], axis=1)
    for points in found.values():
        distances = np.linalg.norm(points[:, None] - front, axis=2).min(1)
        assert distances.max() < 5e-3  # `pbi` bends at its ray, and ends beside it
    rays = found["pbi"][:, 0] / found["pbi"].sum(1)
    np.testing.assert_allclose(rays, np.linspace(0.1, 0.9, 9), atol=5e-3)
    assert found["fixed"].min(1).max() < 1e-3  # at the ends


def test_units_drown_a_sum_and_not_a_method():
    found = run("method_table")
    assert found["equal"][1:].min() > 0.9 and found["upgrad"][1:].max() < 0.5


def test_rates_follow_what_helps_the_target():
    history = run("learned_rates")
    np.testing.assert_allclose(history.sum(1), 1)
    target, related, noise = history[-1]
    assert target > 0.5 and related > 0.2 and noise < 0.05


@pytest.mark.exhaustive
def test_from_a_notebook():
    answer = run("from_a_notebook")
    assert answer["mood"]["label"] == "good" and answer["stars"]["value"] > 4


def test_a_frozen_kernel_is_changed_by_thin_matrices():
    kernel, change, params, merged = run("low_rank_updates")
    np.testing.assert_array_equal(params["kernel"], kernel)
    np.testing.assert_allclose(merged, kernel + change, atol=1e-4)
    assert np.linalg.matrix_rank(np.asarray(params["a"] @ params["b"])) == 2


def test_a_merged_model_does_both_tasks():
    table = run("merged_models")
    for task in (0, 1):
        # One is left by the noise of the targets.
        assert 1 < table["ties"][task] < table["sum"][task] < 0.5 * table["start"][task]
    assert table["first"][1] > 7 and table["second"][0] > 7


@pytest.mark.exhaustive
def test_a_kind_of_ones_own(monkeypatch):
    monkeypatch.setitem(KINDS, "count", None)  # so that it is gone again afterwards
    expected = run("own_kind")
    for word, rate in {"calm": 1, "busy": 4, "frantic": 9}.items():
        assert abs(expected[word]["expected"] - rate) < 1


@pytest.mark.exhaustive
def test_an_export_answers_as_the_run_does():
    ours, theirs = run("exported_answers")
    assert [answer["mood"]["label"] for answer in theirs] == ["good", "bad"]
    for one, other in zip(ours, theirs, strict=True):
        assert one["mood"]["probabilities"] == pytest.approx(
            other["mood"]["probabilities"], abs=1e-5
        )


def test_eight_devices_do_what_one_does(on_eight_devices):
    code = f"""
import runpy, jax
found = runpy.run_path({str(EXAMPLES / "eight_devices.py")!r})["main"]()
assert jax.device_count() == 8
print(abs(found[0] - found[1]).max() < 1e-5 and abs(found[0]).max() > 0.1)
"""
    assert on_eight_devices(code).splitlines()[-1] == "True"


def test_no_example_is_forgotten(site):
    tested = {"own_model", "linen_model", "nnx_model", "own_loss", "own_weighting", "own_loop"}
    tested |= {
        "eight_devices",
        "equinox_model",
        "conflict_paths",
        "single_samples",
        "learned_relation",
    }
    tested |= {"task_groups", "preferences", "method_table", "learned_rates", "from_a_notebook"}
    tested |= {"low_rank_updates", "merged_models", "own_kind", "exported_answers"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested == {*site("layout").EXAMPLES}


def test_the_gallery_shows_the_last_run_of_each_file(site):
    layout = site("layout")
    digest = site("run_examples").digest
    shown, page = layout.ran(), layout.gallery()
    changed = [name for name in layout.EXAMPLES if shown[name]["digest"] != digest(name)]
    assert not changed, "run docs/site/run_examples.py"
    for run in shown.values():
        assert f"ran last on {run['date']}." in page and run["printed"] in page
    assert page.count("ran last on") == len(shown) == len(layout.EXAMPLES)
    for name, run in shown.items():
        assert run["printed"] or f"](images/examples/{name}.png)" in page, name
