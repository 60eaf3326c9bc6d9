import json
from pathlib import Path

import pytest

import mtljax.data.catalogue.prepare as prepare
from mtljax.data.catalogue.prepare import Prepared


@pytest.fixture
def asked(monkeypatch):
    """Stands in for the preparation; says what it was asked for."""
    calls = []

    def prepared(name, directory, *, progress):
        calls.append((name, directory, progress))
        return Prepared(name, Path(directory, name), {"train": 1234, "test": 5}, name == "there")

    monkeypatch.setattr(prepare, "prepare_dataset", prepared)
    return calls


def test_says_what_is_there(mtljax, asked):
    code, out, err = mtljax("prepare", "glue/sst2", "there", "--data-dir", "D")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "glue/sst2: prepared, 1,234 train, 5 test (D/glue/sst2)",
        "there: already there, 1,234 train, 5 test (D/there)",
    ]
    assert asked == [("glue/sst2", "D", False), ("there", "D", False)]


def test_json(mtljax, asked, monkeypatch):
    monkeypatch.setenv("MTLJAX_DATA_DIR", "E")
    code, out, _ = mtljax("prepare", "--json", "there")
    assert code == 0
    assert json.loads(out) == {
        "name": "there",
        "directory": "E/there",
        "splits": {"train": 1234, "test": 5},
        "already": True,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a data set"),
        (["glue"], "name a directory: --data-dir DIR, or MTLJAX_DATA_DIR"),
        (["movie_lm", "--data-dir", "{}"], "comes with the package"),
        (["no_such_set", "--data-dir", "{}"], "the TFDS catalogue has no 'no_such_set'"),
    ],
)
def test_what_is_wrong_is_one_line(mtljax, monkeypatch, tmp_path, arguments, message):
    monkeypatch.delenv("MTLJAX_DATA_DIR", raising=False)
    code, out, err = mtljax("prepare", *(argument.format(tmp_path) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("mtljax prepare: ") and message in err and err.count("\n") == 1


def test_help_and_defaults(mtljax):
    code, out, err = mtljax("prepare", "--help")
    assert (code, err) == (0, "")
    assert "NAME ..." in out and "--data-dir" in out
