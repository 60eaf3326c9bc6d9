import json
from typing import Any

import pytest

from mtljax.data import DataOptions, load_data
from mtljax.data.options import DEFAULT_OPTIONS
from mtljax.tasks import Dataset, Task
from mtljax.training.reporting import data_notes as module
from mtljax.training.reporting.data_notes import left_out_notes


def data_notes(data):
    """The notes but for those on repeated texts: most of these splits repeat each other."""
    return [note for note in module.data_notes(data) if REPEATED not in note]


REPEATED = "are texts of train too"


@pytest.fixture
def notes(tmp_path):
    """From rows by split to the notes on some tasks that read them."""

    def make(
        kinds: dict[str, str],
        features: Any = (),
        row_length: int = 64,
        **splits: list[dict[str, Any]],
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
        options = DataOptions(row_length=row_length, batch_tokens=4096)
        return data_notes(load_data(tasks, options, data_dir=tmp_path))

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


def test_classes_that_may_be_meant_as_one(notes):
    said = rows(60, label=["yes", "no", "Yes", "NO", "so so", "so  so", "perhaps"])
    assert notes({"label": "classification"}, train=said, validation=said) == [
        "task 'label': classes that differ in capitals or blanks alone: 'NO' and 'no', "
        "'Yes' and 'yes', 'so  so' and 'so so'"
    ]


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


def tagged(tmp_path, lines, options=DEFAULT_OPTIONS, **fields):
    """The notes on a task that reads tags of CoNLL columns, with the same file as validation."""
    (tmp_path / "a.conll").write_text(lines)
    files: Any = {"train": "a.conll", "validation": "a.conll"}
    features: Any = {"words": 0, "tags": 1}
    source = Dataset("mine", files, features=features)
    task = Task("ner", "mine", "tagging", "words", "tags", sources=(source,), **fields)
    data = load_data([task], options, data_dir=tmp_path)
    return data.outputs["ner"].classes, data_notes(data)


def test_tags_that_may_mark_spans(tmp_path):
    classes, (note,) = tagged(tmp_path, "deep B\nlearning I\nrocks O\n")
    assert classes == ("B", "I", "O") and note.startswith("task 'ner': tags B, I mark spans by")
    _, (note,) = tagged(tmp_path, "Inger\tPER\nx\t0\n")
    assert note.startswith("task 'ner': tags PER are counted one by one, though '0' may be outside")
    assert tagged(tmp_path, "Inger\tPER\nx\t0\n", scheme="none")[1] == []
    assert tagged(tmp_path, "New\tB-LOC\nYork\tL-LOC\n")[1] == []
    # An empty tag is the one outside where the others mark spans, else missing.
    rest = "w\t\n" * 20
    classes, (note,) = tagged(tmp_path, f"New\tB-LOC\nYork\tL-LOC\n{rest}")
    assert classes == ("", "B-LOC", "L-LOC") and "'' is outside" in note
    classes, (note,) = tagged(tmp_path, f"New\tLOC\nAnna\tPER\n{rest}")
    assert classes == ("LOC", "PER")
    assert note.startswith("task 'ner': 91% of the positions of tagged texts of train have no tag")
    assert tagged(tmp_path, f"New\tLOC\nAnna\tPER\n{rest}", scheme="io") == (
        ("", "LOC", "PER"), []
    )  # fmt: skip


def test_rows_without_a_target_that_can_be_used(tmp_path):
    lines = "New B-LOC\nYork I-LOC\n\nis O\n"
    (tmp_path / "train.conll").write_text(lines)
    (tmp_path / "dev.conll").write_text(lines + "\nEU B-ORG\n")
    files: Any = {"train": "train.conll", "validation": "dev.conll"}
    features: Any = {"words": 0, "tags": 1}
    source = Dataset("mine", files, features=features)
    task = Task("ner", "mine", "tagging", "words", "tags", sources=(source,))
    data = load_data([task], DataOptions(bad_rows="skip"), data_dir=tmp_path)
    assert data_notes(data) == [
        "task 'ner': rows whose targets cannot be used count as missing: 1 of validation"
    ]
    assert left_out_notes(data, "validation") == data_notes(data)
    assert left_out_notes(data, "train") == []


def test_malformed_rows_are_counted_by_split(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": 3}\n{"text": "b"}\n')
    files: Any = {"train": "a.jsonl", "validation": "a.jsonl"}
    task = Task("next", "s", "language_model", "text", sources=(Dataset("s", files),))
    data = load_data([task], DataOptions(bad_rows="skip"), data_dir=tmp_path)
    (note,) = left_out_notes(data)
    assert note == "warning: s: malformed rows left out: 1 of train, 1 of validation"
    assert left_out_notes(data, "validation") == [note.replace("1 of train, ", "")]


def test_texts_that_are_cut(notes):
    def texts(*sizes):
        return [{"text": "w " * size, "label": "ab"[size == 1]} for size in (*sizes, 1)]

    kinds = {"label": "classification", "next": "language_model"}
    splits = {"train": texts(7, 8, 12), "validation": texts(3), "test": texts(17)}
    assert notes(kinds, row_length=8, **splits) == [
        "label: texts of more than 7 words are cut (batch.row_length): "
        "train 50.0% of texts, 21.4% of words; test 50.0% of texts, 55.6% of words"
    ]
    assert notes(kinds, row_length=32, **splits) == []


def test_texts_that_train_has_too(tmp_path):
    def note(*validation):
        for name, texts in (("train", ["a b", "b", "c"] * 5), ("validation", validation)):
            (tmp_path / f"{name}.txt").write_text("\n".join(texts))
        files: Any = {name: f"{name}.txt" for name in ("train", "validation")}
        tasks = [
            Task(name, "s", "language_model", "text", sources=(Dataset("s", files),))
            for name in ("next", "other")
        ]
        return [n for n in module.data_notes(load_data(tasks, data_dir=tmp_path)) if REPEATED in n]

    assert note("a", "b a", "a b c") == []
    (line,) = note("b", "b a", "c")
    assert line.startswith("next, other: 67% of the texts of validation are texts of train too: ")
    assert note(*["b a"] * 10, "b") == []  # less than a tenth
