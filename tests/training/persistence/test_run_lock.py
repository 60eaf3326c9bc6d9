import errno
import os
import subprocess
import sys
import threading

import pytest

from mtljax.errors import UserError
from mtljax.training.persistence.run_lock import LOCK, locked

HOLD = """
import contextlib, pathlib, sys, time
from mtljax.training.persistence.run_lock import locked
with locked(pathlib.Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_at_a_time(tmp_path):
    said = []
    with locked(tmp_path, said.append):
        with pytest.raises(UserError, match=f"process {os.getpid()} on .* is writing there"):
            with locked(tmp_path, said.append):
                pass
        errors = []

        def other():
            try:
                with locked(tmp_path, said.append):
                    pass
            except UserError as error:
                errors.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert len(errors) == 1 and "\n" not in errors[0]
    with locked(tmp_path, said.append), locked(tmp_path.parent, said.append):
        pass
    assert not said


def test_it_is_given_back_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path, print):
        raise ZeroDivisionError
    with locked(tmp_path, print):
        pass


def test_it_dies_with_its_process(tmp_path):
    """Which has no time to give it back; its children do not keep it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {holder.pid} on "):
        with locked(tmp_path, print):
            pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with locked(tmp_path, print):
        pass
    assert f"process {os.getpid()} on " in (tmp_path / LOCK).read_text()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, None])
def test_where_there_are_no_locks_that_is_said(tmp_path, monkeypatch, number):
    said = []
    if number is None:
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:

        def flock(file, operation):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("fcntl.flock", flock)
    with locked(tmp_path, said.append), locked(tmp_path, said.append):
        pass
    assert len(said) == 2 and all("no locks (flock)" in line for line in said)


def test_a_directory_that_cannot_be_written_needs_none(tmp_path):
    with locked(tmp_path / "missing", pytest.fail):
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_the_file_holds_anything(tmp_path):
    """What an old one says does not matter; a message quotes no more than a line of it."""
    (tmp_path / LOCK).write_bytes(b"\xff" * 100_000)
    with locked(tmp_path, print):
        assert (tmp_path / LOCK).stat().st_size < 300
