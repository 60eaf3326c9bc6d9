"""What every test runs under: the CPU, one device, no user configuration."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# JAX and its libraries read these when they are imported, which is after this file.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TQDM_DISABLE", "1")  # bars of tensorflow-datasets
if (ROOT.parent / "shared/data/tfds").is_dir():
    os.environ.setdefault("MTLJAX_DATA_DIR", str(ROOT.parent / "shared/data/tfds"))


@pytest.fixture
def on_eight_devices() -> Callable[[str], str]:
    """Runs Python code in a process of its own that has eight CPU devices; returns what it prints.

    The tests' own process keeps one device, as a user's laptop has: eight would share its threads.
    """

    def run(code: str) -> str:
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "8"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run
