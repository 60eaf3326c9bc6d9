import jax
import pytest
from rich.console import Console

from mtljax.errors import Preempted, UserError
from mtljax.training import session
from mtljax.training.multihost import CollectiveError


class FakeCheckpoints:
    def __init__(self, directory, warn, each):
        self.directory, self.warn, self.each, self.closed = directory, warn, each, 0

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    "processes, error, closed",
    [
        (1, None, 1),
        (1, RuntimeError, 1),
        (1, KeyboardInterrupt, 1),
        (2, None, 1),
        # Raised by all processes: they all close.
        (2, CollectiveError, 1),
        (2, Preempted, 1),
        # Raised by this process alone: to close would be to wait for the others.
        (2, UserError, 0),
        (2, RuntimeError, 0),
    ],
)
def test_checkpoints_are_closed_unless_others_would_wait(
    monkeypatch, tmp_path, capsys, processes, error, closed
):
    monkeypatch.setattr(session, "Checkpoints", FakeCheckpoints)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    opened = session._open_checkpoints(tmp_path, Console(width=80), ["stars"])
    if error is None:
        with opened as checkpoints:
            assert checkpoints.closed == 0
    else:
        with pytest.raises(error), opened as checkpoints:
            raise error("x")
    assert checkpoints.closed == closed
    assert checkpoints.directory == tmp_path / "checkpoints"
    assert checkpoints.each == ["stars"]
    checkpoints.warn("checkpoint 3 cannot be read")
    assert capsys.readouterr().out == "checkpoint 3 cannot be read\n"
