import json
from typing import Any

import pytest

from mtljax.data import DataOptions, load_data
from mtljax.errors import UserError
from mtljax.tasks import Dataset, Task


def test_a_task_over_several_sources(tmp_path):
    for name, label in (("a", "good"), ("b", "fine")):
        rows = [{"text": f"a {label} film", "label": label}, {"text": "a bad film", "label": "bad"}]
        lines = [json.dumps(row) for row in rows * 10]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    a, b = (Dataset(name, path=f"{name}.jsonl") for name in "ab")
    shared: dict[str, Any] = {"kind": "classification", "inputs": "text", "targets": "label"}
    tasks = [
        Task("both", ("a", "movie_sentiment", "b"), **shared, sources=(a, b)),
        Task("text", ("a", "movie_sentiment", "b"), "language_model", "text", sources=(a, b)),
        Task("alone", "a", **shared, sources=(a,)),
    ]
    data = load_data(tasks, DataOptions(attention=lambda task: "causal"), data_dir=tmp_path)
    assert data.outputs["both"].classes == ("bad", "fine", "good", "negative", "positive")
    assert data.outputs["alone"].classes == ("bad", "good")
    assert [group.name for group in data.groups] == ["a+movie_sentiment+b", "a"]
    assert [task.name for task in data.groups[0].tasks] == ["both", "text"]
    movies = len(data.sources["a+movie_sentiment+b"].splits["train"])
    assert len(data.examples["a+movie_sentiment+b"]["train"]) >= movies
    assert data.skipped_rows == {}


def test_a_source_is_described_in_one_way(tmp_path):
    tasks = [
        Task(path[0], "x", "language_model", "text", sources=(Dataset("x", path=path),))
        for path in ("a.txt", "b.txt")
    ]
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("text\n")
    with pytest.raises(UserError, match="task 'b': source 'x' is described in two ways"):
        load_data(tasks, data_dir=tmp_path)


def test_skipped_rows_are_counted_once(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a film"}\n{\n' * 15)
    a = Dataset("a", path="a.jsonl")
    tasks = [
        Task("one", "a", "language_model", "text", sources=(a,)),
        Task("two", ("a", "moby_dick"), "language_model", "text", sources=(a,)),
    ]
    data = load_data(tasks, DataOptions(bad_rows="skip"), data_dir=tmp_path)
    assert data.skipped_rows == {"a": {"train": 15}}
    with pytest.raises(UserError, match="source 'a', .*a.jsonl, line 2: not JSON"):
        load_data(tasks, data_dir=tmp_path)


def test_a_file_under_two_names_has_one_validation_split(tmp_path):
    lines = [
        json.dumps({"text": f"film {i}", "label": "ab"[i % 2], "topic": "xyz"[i % 3]})
        for i in range(300)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    tasks = [
        Task(name, name, "classification", "text", name, sources=(Dataset(name, path="a.jsonl"),))
        for name in ("label", "topic")
    ]
    data = load_data(tasks, data_dir=tmp_path)
    assert [group.name for group in data.groups] == ["label"]
    splits = data.examples["label"]
    assert (len(splits["train"]), len(splits["validation"])) == (270, 30)
    for task, count in (("label", 15), ("topic", 10)):
        targets = splits["validation"].targets[task]
        assert all(abs((targets == i).sum() - count) <= 1 for i in set(targets.tolist()))
    alone = load_data(tasks[:1], data_dir=tmp_path)
    assert (alone.examples["label"]["validation"].targets["label"] == 0).sum() == 15
    # What is held out depends on what is stratified, and so is part of the data's identity.
    assert alone.fingerprints["label"] != data.fingerprints["label"]
