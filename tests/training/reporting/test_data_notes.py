import json
from typing import Any

import pytest

from mtljax.data import load_data
from mtljax.tasks import Dataset, Task
from mtljax.training.reporting.data_notes import data_notes


@pytest.fixture
def notes(tmp_path):
    """From rows by split to the notes on some tasks that read them."""

    def make(
        kinds: dict[str, str], features: Any = (), **splits: list[dict[str, Any]]
    ) -> list[str]:
        files: Any = {}
        for split, rows in splits.items():
            lines = "\n".join(map(json.dumps, rows))
            files[split] = f"{split}.jsonl"
            (tmp_path / files[split]).write_text(lines)
        source = Dataset("mine", files, features=features)
        tasks = [
            Task(name, "mine", kind, "text", name if kind != "language_model" else None,
                 sources=(source,))
            for name, kind in kinds.items()
        ]  # fmt: skip
        return data_notes(load_data(tasks, data_dir=tmp_path))

    return make


def rows(count, **targets):
    values = {name: list(value) for name, value in targets.items()}
    return [
        {"text": f"text {i}", **{name: value[i % len(value)] for name, value in values.items()}}
        for i in range(count)
    ]


def test_nothing_is_odd_where_all_splits_have_all_targets(notes):
    kinds = {"label": "classification", "stars": "regression"}
    complete = rows(100, label="ab", stars=[1.0, 2.0])
    assert notes(kinds, train=complete, validation=complete) == []
    assert notes(kinds, train=complete, validation=complete, test=complete) == []
    # Two targets too few for a class to be missed.
    assert notes(kinds, train=complete, validation=complete[:1]) == []


def test_the_score_names_the_tasks_it_is_over(notes):
    kinds = {"label": "classification", "stars": "regression", "next": "language_model"}
    train = rows(40, label="ab", stars=[1.0, 2.0])
    unrated = rows(40, label="ab", stars=[None])
    assert notes(kinds, train=train, validation=unrated, test=unrated) == [
        "score over 2 of 3 tasks: label, next (no target in validation: stars)",
        "task 'stars': no target in test",
    ]
    assert notes(kinds, train=train) == [
        "no score, the last checkpoint counts as the best (no validation split: label, stars, next)"
    ]
    declared = {"text": "text", "stars": {"column": "stars", "kind": "number"}}
    assert notes({"stars": "regression"}, declared, train=unrated, validation=train) == [
        "task 'stars': no target in train: it learns nothing"
    ]


def test_the_default_split_of_few_rows_has_none(tmp_path):
    (tmp_path / "few.txt").write_text("a\nb\nc\n")
    task = Task("next", "few", "language_model", "text", sources=(Dataset("few", path="few.txt"),))
    assert data_notes(load_data([task], data_dir=tmp_path)) == [
        "no score, the last checkpoint counts as the best (no row in validation: next)"
    ]


def test_a_split_that_follows_the_order_of_a_file(notes):
    """Cut off the end of a file that is sorted by its classes."""
    kinds = {"label": "classification", "set": "multilabel"}
    by_class = rows(90, label="a", set=[["x", "y"]]) + rows(90, label="b", set=[["y"]])
    assert notes(kinds, train=by_class, validation=by_class[-40:]) == [
        "task 'label': validation has no target of classes that train has: 'a' (50%)",
        "task 'set': validation has no target of classes that train has: 'x' (33%)",
    ]


def test_names_in_a_line_are_bounded(notes):
    many = [rows(1, label=[f"class {i}"])[0] for i in range(9)]
    only = [{"text": "t", "label": "class 0"}] * 200
    (note,) = notes({"label": "classification"}, train=many * 200, validation=only)
    assert note.endswith("'class 5' (11%) and 3 more")
