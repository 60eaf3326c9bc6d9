import gzip
import json
from typing import Any

import pytest

import mtljax.data.files.file_rows as file_rows
from mtljax.data import load_source
from mtljax.errors import UserError
from mtljax.tasks import Dataset

ROWS = [
    {"text": f"text {i}", "stars": i / 2, "meta": {"label": "yes" if i % 3 else "no"}}
    for i in range(25)
]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def described(**fields):
    return Dataset("mine", **fields)


BAD = {
    "a.jsonl": ('{"x": "a", "y": 1}\n', '{"x": "a"', "not JSON"),
    "b.jsonl": ('{"x": "a", "y": 1}\n', '{"x": 3, "y": 1}', "feature 'x': expected a text, got 3"),
    "c.jsonl": ('{"x": "a", "y": 1}\n', '{"x": "\xff", "y": 1}', "not UTF-8 text"),
    "d.csv": ("x,y\na,1\n", "b", "1 columns where there should be 2"),
    "e.csv": ("x,y\na,1\n", "b,two", "feature 'y': expected a number, got 'two'"),
    "f.tsv": ("x\ty\na\t1\n", "b\tc\td", "3 columns where there should be 2"),
    "g.conll": ("a O\n\n", "b", "no column 1 among its 1"),
}


@pytest.mark.parametrize("file", BAD)
def test_malformed_rows_stop_or_are_skipped(tmp_path, file):
    good, bad, problem = BAD[file]
    end = "\n\n" if file.endswith("conll") else "\n"
    last = good.splitlines()[-1] or good.splitlines()[0]
    text = good + bad + end + (last + end) * 2 + bad + end
    (tmp_path / file).write_bytes(text.encode("latin-1"))
    features: Any = {"tokens": 0, "tags": 1} if file.endswith("conll") else {}
    features = {"y": {"kind": "number"}} if file == "e.csv" else features
    cut: Any = {"train": f"{file}[:2]", "test": f"{file}[2:]"}
    dataset = described(path=str(tmp_path), splits=cut, features=features)
    stopping = load_source(dataset)
    line = good.count("\n") + 1
    for split in ("train", "test"):
        with pytest.raises(UserError) as error:
            list(stopping.splits[split])
        assert str(error.value).startswith(f"source 'mine', {tmp_path / file}, line {line}: ")
        assert problem in str(error.value) and "\n" not in str(error.value)
    skipping = load_source(dataset, bad_rows="skip")
    assert skipping.skipped is not None
    assert skipping.skipped() == {"mine": {"train": 0, "test": 0}}
    assert len(skipping.splits["train"]) == 2 and len(skipping.splits["test"]) == 1
    assert skipping.skipped() == {"mine": {"train": 1, "test": 1}}


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("file", ["a.jsonl", "a.csv", "a.conll"])
def test_many_rows_are_streamed(tmp_path, monkeypatch, file, pack):
    monkeypatch.setattr(file_rows, "IN_MEMORY", 100)
    monkeypatch.setattr(file_rows, "_MARK_EVERY", 16)
    rows = [
        {
            "a.jsonl": json.dumps({"x": f"é{i}"}) if i % 50 else "oops",
            "a.csv": f'"é{i}"' if i % 50 else "a,b",
            "a.conll": f"é{i} O\n" if i % 50 else "-\n",
        }[file]
        for i in range(1, 1000)
    ]
    data = ("x\n" if file == "a.csv" else "").encode() + ("\n".join(rows) + "\n").encode()
    name = f"{file}.gz" if pack else file
    (tmp_path / name).write_bytes(gzip.compress(data) if pack else data)
    cut: Any = {"train": f"{name}[:90%]", "test": f"{name}[90%:]"}
    features: Any = {"x": 0, "t": 1} if file == "a.conll" else {}
    dataset = described(path=str(tmp_path), splits=cut, features=features)
    source = load_source(dataset, bad_rows="skip")
    whole = [f"é{i}" for i in range(1, 1000) if i % 50]
    plain = [[x] for x in whole] if file == "a.conll" else whole
    edge = round(0.9 * len(whole))
    train, test = source.splits["train"], source.splits["test"]
    assert [row["x"] for row in train] == plain[:edge]
    assert [row["x"] for row in test] == plain[edge:]
    # By number, in any order, and two passes at once.
    for i in (0, 3, 17, 500, edge - 1, 499, -1):
        assert train[i]["x"] == plain[:edge][i]
    assert [row["x"] for row in train[37:53]] == plain[37:53]
    pairs = zip(train, train[: len(train)], strict=True)
    assert all(one == two for one, two in pairs)
    assert source.skipped is not None and sum(source.skipped()["mine"].values()) == 19


def test_a_file_that_grows_shorter_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(file_rows, "IN_MEMORY", 10)
    path = jsonl(tmp_path / "a.jsonl", ROWS)
    source = load_source(described(path=str(path), splits={"train": "a.jsonl"}))  # pyright: ignore
    assert len(source.splits["train"]) == 25
    jsonl(path, ROWS[:20])
    with pytest.raises(UserError, match="has changed while it was read"):
        list(source.splits["train"])
