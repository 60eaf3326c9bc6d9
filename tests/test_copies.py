"""Directories of another scheme in copies on this machine, and what a stop at any file leaves."""

import threading
import time

import pytest

from mtljax import copies
from mtljax.copies import copied, worked_on
from mtljax.errors import UserError
from tests.fake_store import store as store


def content(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def fill(directory, **files):
    for name, text in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_what_is_read_is_as_it_is_there(store, monkeypatch):
    monkeypatch.setattr(copies, "_SMALL", 4)
    fill(store / "bucket/set", a="one", deep__b="longer than small")
    here = copied("data", "s3://bucket/set/")
    assert content(here) == content(store / "bucket/set")
    # What has changed there, is new or gone; and what was changed here.
    fill(store / "bucket/set", a="two", c="new")
    (store / "bucket/set/deep/b").unlink()
    (here / "c2").write_text("mine")
    assert copied("data", "s3://bucket/set") == here
    assert content(here) == content(store / "bucket/set") == {"a": b"two", "c": b"new"}
    assert not (here / "deep").exists()
    # A file alone, and a path of this machine.
    assert copied("data", "s3://bucket/set/a").read_text() == "two"
    assert copied("data", store) == store


def test_large_files_are_read_once(store, monkeypatch):
    monkeypatch.setattr(copies, "_SMALL", 3)
    fill(store / "bucket/set", large="0123456789", small="01")
    here = copied("data", "s3://bucket/set")
    read = []
    copy = copies._copy_file_here

    def counted(there, here):
        read.append(here.name)
        copy(there, here)

    monkeypatch.setattr(copies, "_copy_file_here", counted)
    copied("data", "s3://bucket/set")
    assert read == ["small"]
    (here / "large").write_text("other here")  # of as many bytes
    copied("data", "s3://bucket/set")
    assert read == ["small", "large", "small"] and content(here) == content(store / "bucket/set")
    # Likewise a file that is named alone.
    for _ in range(2):
        assert copied("data", "s3://bucket/set/large").read_text() == "0123456789"
    assert read[3:] == ["large"]


def test_what_is_written_is_there_in_the_end_and_before(store, monkeypatch):
    monkeypatch.setattr(copies, "_POLL", 0.01)
    fill(store / "bucket/run", kept="k", gone="g")
    with worked_on("run", "s3://bucket/run") as here:
        assert content(here) == {"kept": b"k", "gone": b"g"}
        (here / "gone").unlink()
        fill(here, point__a="1")
        fill(here, **{".lock": "", ".x.tmp": "", "2.orbax-checkpoint-tmp__a": ""})
        for _ in range(1000):
            if (store / "bucket/run/point/a").exists():
                break
            time.sleep(0.01)
        assert (store / "bucket/run/point/a").read_text() == "1"
        fill(here, point__a="two")
    assert content(store / "bucket/run") == {"kept": b"k", "point/a": b"two"}
    # After an error, too.
    with pytest.raises(KeyError), worked_on("run", "s3://bucket/run") as here:
        fill(here, more="m")
        raise KeyError
    assert (store / "bucket/run/more").read_text() == "m"


def test_one_process_here_works_on_a_directory(store):
    refused = []

    def second():
        try:
            with worked_on("run", "s3://bucket/run"):
                pass
        except UserError as error:
            refused.append(str(error))

    with worked_on("run", "s3://bucket/run"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        copied_too = copied("run", "s3://bucket/run", must_be=False)
        assert not copied_too.exists()
    assert refused == ["run s3://bucket/run: another process here works on it"]


def test_what_cannot_be_copied_there_is_tried_again(store, monkeypatch):
    monkeypatch.setattr(copies, "_POLL", 0.01)
    original, broken = copies._copy_there, [True]

    def copy(pair):
        if broken[0]:
            raise OSError(5, "Input/output error")
        original(pair)

    monkeypatch.setattr(copies, "_copy_there", copy)
    with pytest.warns(UserWarning, match="Input/output error; tried again"):  # noqa: SIM117
        with worked_on("run", "s3://bucket/run") as here:
            fill(here, point__a="1")
            time.sleep(0.1)
            broken[0] = False
    assert content(store / "bucket/run") == {"point/a": b"1"}
    broken[0] = True
    with pytest.raises(UserError, match=r"s3://bucket/run: cannot be written \(Input/output err"):  # noqa: SIM117
        with worked_on("run", "s3://bucket/run") as here:
            fill(here, b="2")
    assert (here / "b").exists()  # nothing is lost


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nosuch://a/b", "the scheme nosuch:// is unknown"),
        ("s3://bucket/none", "no such file or directory"),
    ],
)
def test_bad_paths(store, path, reason):
    with pytest.raises(UserError, match=f"data directory {path}: {reason}") as raised:
        copied("data directory", path)
    assert "\n" not in str(raised.value)


def test_a_scheme_whose_package_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("MTLJAX_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(UserError, match=r"s3://a/b: scheme s3:// needs a package \(Install s3fs"):
        copied("data", "s3://a/b")
