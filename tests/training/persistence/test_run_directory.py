import dataclasses
import json
import os

import pytest

from mtljax.data import DataOptions, load_data
from mtljax.errors import UserError
from mtljax.presets import ParallelConfig
from mtljax.training.persistence import run_digests, run_directory
from mtljax.training.persistence.run_digests import keep_digests


@pytest.fixture
def tree(tmp_path):
    """What lies in the directory: names and contents."""
    return lambda: {
        str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()
    }


@pytest.fixture
def written(make, plain, tasks, tmp_path):
    chosen = (tasks["label"], tasks["tags"])
    _, data = make(plain, chosen)
    run_directory.make_directory(tmp_path)
    run_directory.write_run(tmp_path, plain, chosen, data)
    return plain, chosen, data


def test_what_is_written_is_read_back(written, tmp_path):
    config, tasks, data = written
    assert run_directory.holds_run(tmp_path)
    found = run_directory.read_run(tmp_path)
    assert found.config == config and found.tasks == tasks
    assert found.layout.to_json() == data.layout.to_json()
    assert list(found.tokenizer.pieces) == list(data.tokenizer.pieces)
    run_directory.check_same_run(tmp_path, config, tasks)
    run_directory.check_same_data(tmp_path, data)


def test_differences_are_named_with_both_values(written, tmp_path, tree):
    config, (label, tags), _ = written
    before = tree()
    other = dataclasses.replace(
        config, seed=7, encoder=dataclasses.replace(config.encoder, features=16)
    )
    with pytest.raises(UserError) as error:
        run_directory.check_same_run(tmp_path, other, (label, tags))
    message = str(error.value)
    assert str(tmp_path) in message and "\n" not in message
    assert "seed (0 there, 7 asked for)" in message
    assert "encoder.features (8 there, 16 asked for)" in message
    assert "steps" not in message
    assert tree() == before


def test_a_run_continues_on_other_devices(written, tmp_path):
    config, tasks, _ = written
    other = dataclasses.replace(config, parallel=ParallelConfig(task=2, data=4, sharding="fsdp"))
    run_directory.check_same_run(tmp_path, other, tasks)
    # What is refused is the seed alone.
    with pytest.raises(UserError, match="seed") as error:
        run_directory.check_same_run(tmp_path, dataclasses.replace(other, seed=7), tasks)
    assert "parallel" not in str(error.value)


def test_differences_of_tasks_are_named(written, tmp_path, tasks):
    config, (label, tags), _ = written

    def message(*asked):
        with pytest.raises(UserError) as error:
            run_directory.check_same_run(tmp_path, config, asked)
        return str(error.value)

    heavier = dataclasses.replace(label, weight=2.0)
    assert "task 'label' field weight (1.0 there, 2.0 asked for)" in message(heavier, tags)
    assert "task 'tags' (only there)" in message(label)
    assert "task 'number' (only asked for)" in message(label, tags, tasks["number"])
    assert "the order of the tasks" in message(tags, label)


def test_options_of_a_weighting_may_be_tuples(written, tmp_path, make, plain, tasks):
    config = dataclasses.replace(
        plain, weighting="fixed", weighting_options={"weights": (1.0, 2.0)}
    )
    run_directory.write_run(tmp_path, config, *written[1:])
    run_directory.check_same_run(tmp_path, config, written[1])
    other = dataclasses.replace(config, weighting_options={"weights": (1.0, 3.0)})
    with pytest.raises(UserError, match="weighting_options"):
        run_directory.check_same_run(tmp_path, other, written[1])


def test_data_that_has_changed(written, tmp_path, monkeypatch, source, plain):
    _, tasks, _ = written
    shorter = {**source.splits, "train": source.splits["train"][:-1]}
    changed = dataclasses.replace(source, splits=shorter)
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_sources.load_source", lambda name, data_dir, **_: changed
    )
    data = load_data(tasks, DataOptions(row_length=12, batch_tokens=96), tokenizer=plain.tokenizer)
    with pytest.raises(UserError, match="its data has changed, tiny train had 60 .* has 59"):
        run_directory.check_same_data(tmp_path, data)


@pytest.mark.parametrize("name", ["notes.txt", "checkpoints"])
def test_a_directory_of_something_else(tmp_path, name, tree):
    (tmp_path / name).mkdir() if name == "checkpoints" else (tmp_path / name).write_text("mine")
    before = tree()
    with pytest.raises(UserError, match=f"holds '{name}', which is no run; choose another"):
        run_directory.make_directory(tmp_path)
    assert tree() == before


def test_what_an_interrupted_start_left_is_taken_over(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / ".config.yaml.tmp").write_text("pre")
    run_directory.make_directory(tmp_path)
    assert not run_directory.holds_run(tmp_path)


@pytest.mark.parametrize("written", range(5))
def test_killed_while_it_begins(make, plain, tasks, tmp_path, monkeypatch, written):
    chosen = (tasks["label"],)
    _, data = make(plain, chosen)
    replace, left = os.replace, iter(range(written))

    def interrupt(source, target):
        if next(left, None) is None:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_directory.write_run(tmp_path, plain, chosen, data)
    assert not run_directory.holds_run(tmp_path)
    assert len([path for path in tmp_path.iterdir() if path.name[0] != "."]) == written
    run_directory.make_directory(tmp_path)
    run_directory.write_run(tmp_path, plain, chosen, data)
    assert run_directory.read_run(tmp_path).tasks == chosen


def test_a_directory_that_cannot_be_looked_at(tmp_path):
    with pytest.raises(UserError, match="run directory .*: File name too long"):
        run_directory.holds_run(tmp_path / ("x" * 300))


@pytest.mark.parametrize("name", ["a\\b", "a\udcff", "gs:"])
def test_a_directory_where_arrays_would_land_elsewhere(tmp_path, name):
    with pytest.raises(UserError, match="checkpoints cannot be written there, for the '"):
        run_directory.make_directory(tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="run directory .*file/run: Not a directory"):
        run_directory.make_directory(tmp_path / "file/run")


@pytest.mark.parametrize("name", ["tokenizer.json", "layout.json", "config.yaml", "tasks.yaml"])
@pytest.mark.parametrize("damage", ["half", "missing", "bytes"])
def test_damaged_files_are_named(written, tmp_path, name, damage):
    path = tmp_path / name
    if damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 - 3])
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError) as error:
        run_directory.read_run(tmp_path)
    assert name in str(error.value) and "\n" not in str(error.value)


EDITS = [
    ("config.yaml", "seed: 0", "seed: 1"),
    ("tasks.yaml", "weight: 1.0", "weight: 1.5"),
    ("tasks.yaml", "kind: tagging", "kind: multilabel"),
    ("layout.json", "good", "goof"),
    ("layout.json", '"bad", "good"', '"good", "bad"'),
    ("tokenizer.json", "w1", "w2"),
]


@pytest.mark.parametrize(("name", "old", "new"), EDITS)
def test_a_file_that_is_whole_but_another(written, tmp_path, name, old, new):
    """As good a file as any, but not what the run wrote."""
    config, tasks, data = written
    path = tmp_path / name
    text = path.read_text()
    if old not in text:  # fields that have their default are not written
        old, new = text[len(text) // 2], "~"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=f"{name} .* put it back, or remove digests.json there"):
        run_directory.read_run(tmp_path)
    readers = {
        "config.yaml": lambda: run_directory.read_config(tmp_path),
        "tasks.yaml": lambda: run_directory.check_same_run(tmp_path, config, tasks),
        "layout.json": lambda: run_directory.check_same_data(tmp_path, data),
    }
    if name in readers:
        with pytest.raises(UserError, match=name):
            readers[name]()


def test_a_run_of_an_older_version(written, tmp_path):
    """It is read with one line, and has digests when it was continued."""
    (tmp_path / "digests.json").unlink()
    said = []
    before = run_directory.read_run(tmp_path, said.append)
    assert len(said) == 1 and "has no digests.json, as of an older version" in said[0]
    keep_digests(tmp_path, run_directory.FILES)
    assert run_directory.read_run(tmp_path, pytest.fail).tasks == before.tasks
    (tmp_path / "digests.json").write_text("{}")
    with pytest.raises(UserError, match="digests.json: the digests are damaged; remove it, if"):
        run_directory.read_run(tmp_path)


def test_a_file_is_replaced_while_it_is_read(written, tmp_path, monkeypatch):
    """A reader that has read the digests before finds those of the new content."""
    config, *_ = written
    longer = dataclasses.replace(config, steps=99)
    check, calls = run_digests.check_files, []

    def check_files(*args):
        if not calls:
            calls.append(run_directory.extend_run(tmp_path, config, longer, config.steps))
        check(*args)

    monkeypatch.setattr(run_digests, "check_files", check_files)
    assert run_directory.read_config(tmp_path) == longer


def test_summary(tmp_path):
    assert run_directory.read_summary(tmp_path) is None
    tasks = {"a": {"validation": {"loss": 0.5, "f1": None}, "test": {}}}
    summary = {"steps": 3, "best_step": 3, "tasks": tasks, "rate": None}
    run_directory.write_summary(tmp_path, {**summary, "rate": float("inf")})
    assert run_directory.read_summary(tmp_path) == summary
    text = (tmp_path / "summary.json").read_text()
    json.loads(text, parse_constant=pytest.fail)
    (tmp_path / "summary.json").write_text(text[:-8])  # not complete: the run is taken up again
    assert run_directory.read_summary(tmp_path) is None


@pytest.mark.parametrize("edit", [("steps", "3"), ("best_step", []), ("tasks", {"a": {"test": 3}}),
                                  ("tasks", {"a": {"test": {"f1": "x"}}})])  # fmt: skip
def test_a_summary_of_other_types(tmp_path, edit):
    """Of an older version, whose digest is not known."""
    summary = {"steps": 3, "best_step": 3, "tasks": {}} | dict([edit])
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    said = []
    assert run_directory.read_summary(tmp_path, said.append) is None
    assert said == [f"{tmp_path / 'summary.json'} is damaged: it is made again"]
