import gzip
import json
from typing import Any

import pytest

from mtljax.data import load_source
from mtljax.errors import UserError
from mtljax.tasks import Dataset
from mtljax.tasks.dataset import matching, with_absolute_paths

ROWS = [
    {"text": f"text {i}", "stars": i / 2, "meta": {"label": "yes" if i % 3 else "no"}}
    for i in range(25)
]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def described(**fields):
    return Dataset("mine", **fields)


def test_several_files_and_patterns(tmp_path):
    for i in range(3):
        jsonl(tmp_path / f"part-{i}.jsonl", ROWS[i * 5 : i * 5 + 5])
    packed = "".join(json.dumps(row) + "\n" for row in ROWS[20:])
    (tmp_path / "last.jsonl.gz").write_bytes(gzip.compress(packed.encode()))
    splits: Any = {"train": "part-*.jsonl[1:]", "validation": ["last.jsonl.gz", "part-0.jsonl"]}
    source = load_source(described(path=str(tmp_path), splits=splits))
    assert [row["text"] for row in source.splits["train"]] == [f"text {i}" for i in range(1, 15)]
    assert [row["text"] for row in source.splits["validation"]] == [
        f"text {i}" for i in (*range(20, 25), *range(5))
    ]


@pytest.mark.parametrize(
    "name", ["[x].jsonl", "a*.jsonl", "?.jsonl", "[a-c]/b.jsonl", "~x/b.jsonl"]
)
def test_a_file_that_exists_is_no_pattern(tmp_path, name, monkeypatch):
    """Neither is the directory of the tasks file, nor the one of the data."""
    folder = tmp_path / "[data]"
    for other in ("x.jsonl", "ab.jsonl", "a/b.jsonl", name):
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        jsonl(folder / other, [{"text": other}] * 12)
    monkeypatch.chdir(folder)
    for source in (
        load_source(described(path=name)),
        load_source(described(splits={"train": name})),
        load_source(with_absolute_paths(described(path=name), folder)),
        load_source(described(splits={"train": f"{name}[:6]"}, path=str(folder))),
    ):
        assert {row["text"] for row in source.splits["train"]} == {name}


def test_patterns_below_directories_with_brackets(tmp_path):
    for folder in ("[x]", "x"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            jsonl(tmp_path / folder / f"part-{i}.jsonl", [{"text": f"{folder} {i}"}])
    names = {f"part-{i}.jsonl" for i in range(3)}
    for found in (
        matching(tmp_path, "[x]/part-*.jsonl"),
        matching(tmp_path / "[x]", "part-*.jsonl"),
        matching(tmp_path, str(tmp_path / "[x]" / "*[0-2].jsonl")),
        matching(tmp_path / "x", "../[x]/part-?.jsonl"),
    ):
        assert {path.name for path in found} == names
        assert {path.parent.name for path in found} == {"[x]"}
    assert {path.parent.name for path in matching(tmp_path, "[x-z]/part-*")} == {"x"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "none.jsonl"}, "source 'mine': no file 'none.jsonl' in '"),
        ({"splits": {"train": "none*.jsonl"}}, "split 'train': no file 'none*.jsonl' in '"),
        (
            {"path": "a.jsonl", "splits": {"train": "a.jsonl", "test": "b.jsonl"}},
            "split 'test': no file 'b.jsonl'",
        ),
        ({"path": ".", "format": "csv"}, "'.' is a directory: name the files in it"),
        ({"splits": {"train": "dir.jsonl"}}, "dir.jsonl' is a directory"),
        ({"path": "~nobody-there/a.csv"}, "no file '~nobody-there/a.csv'"),
        ({"path": "a\x00.csv"}, "no file"),
        ({"path": "empty.jsonl"}, "split 'train': no rows in"),
        ({"path": "empty.csv"}, "split 'train': no rows in"),
        ({"path": "bad.jsonl"}, "bad.jsonl, line 1: not JSON"),
        ({"path": "a.jsonl", "features": {"x": "nope"}}, "feature 'x': none of the first 25 rows"),
        ({"path": "a.jsonl", "features": {"x": 0}}, "JSON objects have names, not numbers"),
        (
            {"path": "a.csv", "features": {"x": "txt"}},
            "a.csv: no column 'txt'; did you mean 'text'",
        ),
        ({"path": "a.csv", "features": {"x": 5}}, "a.csv: no column 5 among its 2"),
        ({"path": "twice.csv"}, "twice.csv: line 1: column 'a' appears twice"),
        ({"path": "a.txt", "features": {"x": "y"}}, "no column 'y': plain text has one, 'text'"),
        ({"path": "a.conll", "features": {"x": "y"}}, "give the number of its column, not 'y'"),
        ({"path": "cut.jsonl.gz"}, "cut.jsonl.gz: cannot be read"),
        ({"path": "cut.jsonl.xz"}, "cut.jsonl.xz: cannot be read"),
        (
            {"path": "a.csv", "features": {"label": {"classes": "none.txt"}}},
            "feature 'label': no file 'none.txt'",
        ),
        (
            {"path": "a.csv", "features": {"label": {"classes": "empty.csv"}}},
            "empty.csv: names no class",
        ),
        (
            {"path": "a.csv", "features": {"label": {"classes": "a.txt"}}},
            "a.txt: a class appears twice",
        ),
        ({"dataset": "none"}, "source 'mine': unknown data set 'none'"),
        ({"dataset": "glue/qqp"}, "mtljax prepare glue/qqp --data-dir "),
    ],
)
def test_what_is_not_there_or_does_not_fit(tmp_path, monkeypatch, fields, message):
    monkeypatch.chdir(tmp_path)
    jsonl(tmp_path / "a.jsonl", ROWS)
    (tmp_path / "a.csv").write_text("text,label\na,b\n")
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    (tmp_path / "bad.jsonl").write_text("oops\n")
    for name in ("empty.jsonl", "empty.csv"):
        (tmp_path / name).write_text("")
    for name in ("a.txt", "a.conll"):
        (tmp_path / name).write_text("a\na\n")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"x": "a"}\n' * 9)[:20])
    (tmp_path / "cut.jsonl.xz").write_bytes(b"\xfd7zXZ")
    (tmp_path / "dir.jsonl").mkdir()
    with pytest.raises(UserError) as error:
        load_source(described(**fields), tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_data_directory_comes_before_the_working_directory(tmp_path, monkeypatch):
    for folder in ("data", "work"):
        (tmp_path / folder).mkdir()
        jsonl(tmp_path / folder / "a.jsonl", [{"x": folder}])
    jsonl(tmp_path / "work/b.jsonl", [{"x": "b"}])
    monkeypatch.chdir(tmp_path / "work")
    cut: Any = {"train": "a.jsonl", "test": "b.jsonl"}
    source = load_source(described(splits=cut), tmp_path / "data")
    assert source.splits["train"][0]["x"] == "data"
    assert source.splits["test"][0]["x"] == "b"
