"""Targets of rows that cannot be used, and of sets of labels."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from mtljax.data import DataOptions, Feature, Source, TokenizerSettings, load_data
from mtljax.errors import UserError
from mtljax.kinds.labels import short
from mtljax.tasks import Dataset, Task

SETTINGS = TokenizerSettings(min_count=1, prefixes=(), suffixes=(), shape=False)


@pytest.fixture
def read(monkeypatch):
    """Reads rows of one task; returns the examples of the last split."""

    def load(task, features, bad_rows="stop", **splits):
        source = Source("s", "s", {"text": Feature("text"), **features}, splits)
        monkeypatch.setattr(
            "mtljax.data.catalogue.load_sources.load_source", lambda name, data_dir, **_: source
        )
        options = DataOptions(row_length=16, batch_tokens=64, bad_rows=bad_rows)
        data = load_data((task,), options, tokenizer=SETTINGS)
        return data, data.examples["s"][list(splits)[-1]]

    return load


CLASS = Task("c", "s", "classification", "text", "y")
SETS = Task("m", "s", "multilabel", "text", "y", weights="w")
TAGS = Task("t", "s", "tagging", "words", "y")


def labelled(*values):
    return [{"text": f"w{i}", "y": value} for i, value in enumerate(values)]


def tagged(*values):
    return [{"text": "", "words": words.split(), "y": tags} for words, tags in values]


BAD = {
    "a name that train does not have": (
        CLASS,
        {"y": Feature("text")},
        labelled("a", "b", "a"),
        labelled("a", "c", "b"),
        "label 'c' does not occur in train",
        [1, 0, 1],
    ),
    "a number out of range": (
        CLASS,
        {"y": Feature("label", ("a", "b"))},
        labelled(0, 1, 1),
        labelled(0, 2, 1),
        "label 2 is not in 0..1",
        [1, 0, 1],
    ),
    "a tag out of range": (
        TAGS,
        {"words": Feature("tokens"), "y": Feature("tags", ("O", "X"))},
        tagged(("a b", [0, 1])),
        tagged(("a b", [0, 1]), ("a b", [0, 7]), ("b", [1])),
        "label 7 is not in 0..1",
        [0, 1, 1, 0, 0, 0, 0, 1],
    ),
    "a tag that train does not have": (
        TAGS,
        {"words": Feature("tokens"), "y": Feature("tokens")},
        tagged(("a b", ["O", "X"])),
        tagged(("a", ["X"]), ("a b", ["O", "Y"])),
        "label 'Y' does not occur in train",
        [0, 1, 0, 0, 0],
    ),
    "fewer tags than words": (
        TAGS,
        {"words": Feature("tokens"), "y": Feature("tags", ("O", "X"))},
        tagged(("a b", [0, 1])),
        tagged(("a", [1]), ("a b", [0])),
        "1 tags for 2 words",
        [0, 1, 0, 0, 0],
    ),
    "more tags than words": (
        TAGS,
        {"words": Feature("tokens"), "y": Feature("tags", ("O", "X"))},
        tagged(("a b", [0, 1])),
        tagged(("a", [1]), ("a b", [0, 0, 1])),
        "3 tags for 2 words",
        [0, 1, 0, 0, 0],
    ),
}


BAD |= {
    f"a number that is {value}": (
        Task("r", "s", "regression", "text", "y"),
        {"y": Feature("number")},
        labelled(1, None),
        labelled(math.nan, value, 2.0),
        f"{short(value)} is beyond float32, which ends at 3.4e38",
        [0, 0, 1],
    )
    for value in (1e39, -math.inf, 10**400)
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_stops_or_is_counted(read, name):
    task, features, train, validation, reason, weights = BAD[name]
    with pytest.raises(UserError) as error:
        read(task, features, train=train, validation=validation)
    where = f"task {task.name!r}, data set 's', split 'validation', row 1: "
    remedy = "; name all 'classes' of its feature, or leave such rows out with --data.bad-rows skip"
    in_train = reason.endswith("does not occur in train")
    assert str(error.value) == where + reason + (remedy if in_train else "")
    _, examples = read(task, features, "skip", train=train, validation=validation)
    assert examples.weights[task.name].tolist() == weights
    assert examples.skipped == {task.name: 1}


def sets(*values, weights=None):
    rows = [{"text": f"w{i}", "y": value, "w": 1.0} for i, value in enumerate(values)]
    for row, weight in zip(rows, weights or (), strict=False):
        row["w"] = weight
    return rows


FEATURES = {"y": Feature("tags", ("a", "b", "c")), "w": Feature("number")}


def test_sets_of_labels(read):
    rows = sets([2, 0], [], None, [1], [0, -1], weights=[1, 2, 1, 0.5, 1])
    data, examples = read(SETS, FEATURES, train=rows)
    targets = examples.targets["m"]
    assert targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    # None at all is an answer, a list that is not there or not known in full is none.
    assert examples.weights["m"].tolist() == [1, 2, 0, 0.5, 0]
    assert (targets.dtype, examples.weights["m"].dtype) == (np.uint8, np.float32)
    assert data.outputs["m"].classes == ("a", "b", "c")


def test_sets_of_names(read):
    names = {"y": Feature("tokens"), "w": Feature("number")}
    data, examples = read(SETS, names, train=sets(["z", "x"], ["y"], []))
    assert data.outputs["m"].classes == ("x", "y", "z")
    assert examples.targets["m"].tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(UserError, match="validation', row 0: label 'q' does not occur in train"):
        read(SETS, names, train=sets(["z"]), validation=sets(["z", "q"]))


@pytest.mark.parametrize(
    ("feature", "labels", "message"),
    [
        (Feature("tags", ("a", "b", "c")), [1, 0, 1], "label 'b' appears twice in a set"),
        (Feature("tags", ("a", "b", "c")), [1, 0, 0, 1], "label 'b' appears twice in a set"),
        (Feature("tokens"), ["x", "y", " x"], "label 'x' appears twice in a set"),
        (Feature("tags"), [1, 0, 0], "label '0' appears twice in a set; indicators, 0 and 1 for"),
        (
            Feature("tags"),
            [1, 0],
            r"labels \[1, 0\] could be a set of both classes or",
        ),
    ],
)
def test_a_label_twice_in_a_set(read, feature, labels, message):
    features = {"y": feature, "w": Feature("number")}
    with pytest.raises(UserError, match=f"split 'train', row 0: {message}"):
        read(SETS, features, train=sets(labels))


NAMES = ("joy", "anger", "fear", "love")


def written(path, lists):
    """Rows with these lists in a file of its ending, which is JSON lines or a table."""
    if path.suffix == ".jsonl":
        lines = [json.dumps({"text": f"w{i}", "y": flags}) for i, flags in enumerate(lists)]
    else:
        lines = ["text,y", *(f"w{i},{' '.join(map(str, row))}" for i, row in enumerate(lists))]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("as_flag", [int, float, bool])
@pytest.mark.parametrize("twice", [False, True])
def test_indicators_are_sets(tmp_path, ending, count, as_flag, twice):
    flags = np.array(list(itertools.product([0, 1], repeat=count)))
    written(tmp_path / f"d.{ending}", [[as_flag(flag) for flag in row] for row in flags.tolist()])
    names = NAMES[:count]
    features = {"y": {"kind": "tags", "classes": list(names)}}
    splits = {"train": f"d.{ending}", "validation": f"d.{ending}"}
    one = Dataset("one", splits, path=str(tmp_path), features=features)
    # A second set with the classes in another order: they are united by name.
    features = {"y": {"kind": "tags", "classes": ["other", *names[::-1]]}}
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps({"text": "x", "y": [names[-1]]}) + "\n")
    two = Dataset("two", {"train": "e.jsonl"}, path=str(tmp_path), features=features)
    names_of_sets = ("one", "two") if twice else "one"
    described = (one, two) if twice else (one,)
    task = Task("m", names_of_sets, "multilabel", "text", "y", sources=described)
    data = load_data((task,), DataOptions(row_length=16, batch_tokens=64), tokenizer=SETTINGS)
    assert data.outputs["m"].classes == (*names, *["other"] * twice)
    (group,) = data.groups
    targets = data.examples[group.name]["validation"].targets["m"]
    np.testing.assert_array_equal(targets[:, :count], flags)
    assert not targets[:, count:].any()


def test_tags_of_two_words_are_no_indicators(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"words": ["a", "b"], "y": [1, 0]}\n{"words": ["c", "d"], "y": [0, 0]}\n')
    features = {"y": {"kind": "tags", "classes": ["O", "X"]}}
    source = Dataset("s", {"train": "d.jsonl"}, path=str(tmp_path), features=features)
    task = Task("t", "s", "tagging", "words", "y", sources=(source,))
    data = load_data((task,), DataOptions(row_length=16, batch_tokens=64), tokenizer=SETTINGS)
    examples = data.examples["s"]["train"]
    present = examples.weights["t"] > 0
    assert examples.targets["t"][present].tolist() == [1, 0, 0, 0]


def test_numbers_that_are_names_make_sets_of_names(read):
    features = {"y": Feature("tags"), "w": Feature("number")}
    data, examples = read(SETS, features, train=sets([30, 10], [], [20]))
    assert data.outputs["m"].classes == ("10", "20", "30")
    assert examples.targets["m"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_a_row_with_two_faults_counts_once(read):
    rows = sets([0], [7], weights=[1, -1])
    _, examples = read(SETS, FEATURES, "skip", train=rows)
    assert examples.weights["m"].tolist() == [1, 0]
    assert examples.skipped == {"m": 1}


def test_sets_lie_at_their_segments(read):
    rows = sets(*([i % 3, (i + 1) % 3] if i % 4 else [] for i in range(9)), weights=range(9))
    data, examples = read(SETS, FEATURES, train=rows)
    batch = next(data.evaluation_batches("s", "train"))
    shape = data.layout.shapes["s"]
    targets, weights = batch["targets"]["m"], batch["weights"]["m"]
    assert targets.shape == (shape.rows, shape.max_segments, 3)
    assert weights.shape == (shape.rows, shape.max_segments)
    seen = batch["example"] >= 0
    numbers = batch["example"][seen]
    assert sorted(numbers) == list(range(9))
    np.testing.assert_array_equal(targets[seen], examples.targets["m"][numbers])
    np.testing.assert_array_equal(weights[seen], numbers)
    assert not targets[~seen].any() and not weights[~seen].any()


@pytest.mark.parametrize("kind", ["text", "label", "number"])
def test_sets_are_lists(read, kind):
    with pytest.raises(UserError, match="multilabel needs a list of"):
        read(SETS, {"y": Feature(kind), "w": Feature("number")}, train=sets([0]))


def test_a_single_class_is_told(monkeypatch):
    source = Source("s", "s", {"text": Feature("text"), "y": Feature("number")}, {})
    source = replace(source, splits={"train": labelled(7, 7)})
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_sources.load_source", lambda name, data_dir, **_: source
    )
    lines = []
    options = DataOptions(row_length=16, batch_tokens=64)
    data = load_data((CLASS,), options, tokenizer=SETTINGS, say=lines.append)
    assert lines == ["task 'c': all its targets are of one class, '7'"]
    assert data.outputs["c"].classes == ("7",)
    assert data.examples["s"]["train"].targets["c"].tolist() == [0, 0]
