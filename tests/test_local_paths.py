"""What cannot be made is found out before the work for it, and nothing is left behind."""

import os
import re

import pytest

from mtljax.cli import main
from mtljax.errors import UserError
from mtljax.local_paths import check_place


def snapshot(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def test_what_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    before = snapshot(tmp_path)
    for place in ("file", "new", "folder/new"):
        check_place("plot", tmp_path / place)
    for place in ("folder", "new", "new/deeper/still"):
        check_place("run directory", tmp_path / place, directory=True)
    check_place("--output", "/dev/null")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("place", "directory", "reason"),
    [
        ("file/x", False, "Not a directory"),
        ("folder", False, "Is a directory"),
        ("new/x", False, "No such file or directory"),
        ("n" * 300, False, "File name too long"),
        ("file", True, "Not a directory"),
        ("file/x/y", True, "Not a directory"),
        ("n" * 300, True, "File name too long"),
    ],
)
def test_what_cannot_be_made(tmp_path, place, directory, reason):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    line = rf"^plot {re.escape(str(tmp_path / place))}: .*{reason}"
    with pytest.raises(UserError, match=line):
        check_place("plot", tmp_path / place, directory=directory)
    with pytest.raises(OSError):  # as making it says
        (tmp_path / place).mkdir(parents=True) if directory else (tmp_path / place).write_text("")


def test_names_that_no_file_has():
    for directory in (False, True):
        with pytest.raises(UserError, match=r"^plot a\\x00b: "):
            check_place("plot", "a\0b", directory=directory)


def test_where_nothing_may_be_written(tmp_path):
    if os.path.isdir("/proc/self"):  # whoever asks, root too
        for directory in (False, True):
            with pytest.raises(UserError, match="^plot /proc/none: "):
                check_place("plot", "/proc/none", directory=directory)
    if os.geteuid():  # root may write everywhere else
        (tmp_path / "shut").mkdir(mode=0o500)
        for directory in (False, True):
            with pytest.raises(UserError, match="Permission denied"):
                check_place("plot", tmp_path / "shut/x", directory=directory)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("show RUN --html FILE/x", "--html"),
        ("compare RUN RUN --plot FILE/x", "plot"),
        ("predict RUN text --output FILE/x", "--output"),
        ("generate RUN --output FILE/x", "--output"),
        ("export RUN FILE/x", "export"),
        ("merge RUN OTHER --run-dir FILE/x", "run directory"),
        ("relate --preset linear --study-dir FILE/x", "study directory"),
        ("tune --preset linear --search-dir FILE/x", "search directory"),
        ("mixture --preset linear --search-dir FILE/x", "search directory"),
    ],
)
def test_commands_that_write_ask_before_their_work(tmp_path, capsys, monkeypatch, command, what):
    """The run is none, and would be complained about by the first work that reads it."""
    (tmp_path / "FILE").touch()
    monkeypatch.chdir(tmp_path)
    code = main(command.split())
    line = capsys.readouterr().err
    assert (code, line) == (2, f"mtljax {command.split()[0]}: {what} FILE/x: Not a directory\n")
    assert snapshot(tmp_path) == [str(tmp_path / "FILE")]
