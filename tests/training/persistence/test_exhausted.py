"""A disk, or the open files, that are used up: one line, and nothing else in the output."""

import contextlib
import resource
import sys
import time
import warnings

import jax.numpy as jnp
import pytest

from mtljax.errors import UserError
from mtljax.training.persistence import late_errors, open_files
from mtljax.training.persistence.checkpoints import Checkpoints


@pytest.fixture
def hooks(monkeypatch):
    """The hooks of Python as they are outside of pytest, and as they were afterwards."""
    late_errors._installed.clear()
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    with warnings.catch_warnings():
        yield
    late_errors._installed.clear()


@contextlib.contextmanager
def limited(kind, most):
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def test_a_checkpoint_that_cannot_be_written_is_one_error(tmp_path, capfd, hooks):
    checkpoints = Checkpoints(tmp_path / "checkpoints", pytest.fail)
    state = {f"layer {i}": jnp.arange(5000.0) + i for i in range(12)}
    with limited(resource.RLIMIT_FSIZE, 4096), pytest.raises(UserError) as caught:
        checkpoints.save(1, state, {"next_index": 1}, {}, 0.5)
        checkpoints.wait()
    assert "a checkpoint cannot be written (File too large)" in str(caught.value)
    time.sleep(0.5)  # for threads that end later
    assert capfd.readouterr().err == ""


def test_other_errors_of_threads_are_shown(capsys, hooks):
    late_errors.quiet_late_errors()
    late_errors.quiet_late_errors()
    for error in (RuntimeError("Event loop is closed"), RuntimeError("another"), ValueError("x")):
        sys.excepthook(type(error), error, None)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["RuntimeError: another", "ValueError: x"]


def test_open_files(monkeypatch):
    limits = {"now": (8, 20)}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: limits.update(now=pair))
    with pytest.raises(UserError, match=r"too few open files are allowed: 20, of 64 .*ulimit -n"):
        open_files.allow_open_files()
    for before, after in (
        ((8, 4096), (1024, 4096)),
        ((64, 64), (64, 64)),
        ((8, resource.RLIM_INFINITY), (1024, resource.RLIM_INFINITY)),
        ((2048, 4096), (2048, 4096)),
    ):
        limits["now"] = before
        open_files.allow_open_files()
        assert limits["now"] == after
