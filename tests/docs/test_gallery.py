"""Every example runs, and ends where it should."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

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


@pytest.mark.parametrize("name", ["own_model", "linen_model", "nnx_model"])
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
    tested |= {"eight_devices"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested == {*site("layout").EXAMPLES}
