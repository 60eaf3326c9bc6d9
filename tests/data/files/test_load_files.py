import csv
import json
from typing import Any

import pytest

from mtljax.data import Feature, load_source
from mtljax.errors import UserError
from mtljax.tasks import Dataset
from mtljax.tasks.dataset import dump_dataset, parse_dataset

ROWS = [
    {"text": f"text {i}", "stars": i / 2, "meta": {"label": "yes" if i % 3 else "no"}}
    for i in range(25)
]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def described(**fields):
    return Dataset("mine", **fields)


@pytest.fixture
def reviews(tmp_path):
    return jsonl(tmp_path / "reviews.jsonl", ROWS)


def test_slices_of_a_file(reviews, tmp_path):
    splits: Any = {
        "train": "reviews.jsonl[:20%]+reviews.jsonl[-5:]",
        "validation": "[20%:40%]",
        "test": ["[10:12]", "[0:1]"],
    }
    source = load_source(described(path=str(tmp_path / "reviews.jsonl"), splits=splits))
    numbers = {
        name: [int(2 * row["stars"]) for row in rows] for name, rows in source.splits.items()
    }
    assert numbers == {
        "train": [0, 1, 2, 3, 4, 20, 21, 22, 23, 24],
        "validation": [5, 6, 7, 8, 9],
        "test": [10, 11, 0],
    }
    assert source.features == {
        "text": Feature("text"),
        "stars": Feature("number"),
        "meta.label": Feature("text"),
    }
    assert source.splits["train"][-1] == {"text": "text 24", "stars": 12.0, "meta.label": "no"}


def test_a_single_file_and_declared_features(reviews, tmp_path):
    (tmp_path / "classes.txt").write_text("no\nyes\n\n")
    features: Any = {"label": {"column": "meta.label", "classes": "classes.txt"}, "body": "text"}
    source = load_source(described(path=str(reviews), features=features))
    assert len(source.splits["train"]) == 23 and len(source.splits["validation"]) == 2
    assert source.splits["validation"][0] == {"body": "text 10", "stars": 5.0, "label": 1}
    assert {"body": "text 9", "stars": 4.5, "label": 0} in source.splits["train"]
    assert source.features["label"] == Feature("label", ("no", "yes"))
    assert set(source.features) == {"body", "stars", "label"}


def test_splits_of_sets_that_are_there(tfds_dir):
    splits: Any = {"train": "train[:90%]", "validation": "train[90%:]", "test": "validation"}
    whole = load_source("wnut17", tfds_dir)
    source = load_source(described(dataset="wnut17", splits=splits), tfds_dir)
    train = list(whole.splits["train"])
    assert len(source.splits["train"]) == round(0.9 * len(train))
    assert [*source.splits["train"], *source.splits["validation"]] == train
    assert source.splits["test"][0] == whole.splits["validation"][0]
    assert source.name == "mine" and source.features == whole.features
    assert source.identity != whole.identity
    assert load_source(described(dataset="wnut17"), tfds_dir).identity == whole.identity
    inside = load_source(described(dataset="movie_lm", splits={"train": "validation[:3]"}))  # pyright: ignore
    assert list(inside.splits) == ["train"] and len(inside.splits["train"]) == 3
    assert inside.splits["train"][:] == load_source("movie_lm").splits["validation"][:3]
    with pytest.raises(UserError, match="'movie_lm' has no split 'tset'; did you mean 'test'"):
        load_source(described(dataset="movie_lm", splits={"train": "tset"}))  # pyright: ignore


def test_equal_identity_means_equal_rows(reviews, tmp_path):
    def identity(name="mine", **fields):
        return load_source(Dataset(name, **fields), tmp_path).identity

    cut: Any = {"train": "reviews.jsonl[:9]"}
    other: Any = {"train": "reviews.jsonl[:8]"}
    renamed: Any = {"x": "text"}
    base = identity(path="reviews.jsonl", splits=cut)
    assert identity("other", path=str(reviews), splits={"train": "[:9]"}) == base
    assert identity(path="reviews.jsonl", splits=other) != base
    assert identity(path="reviews.jsonl", splits=cut, features=renamed) != base
    assert identity(path="reviews.jsonl") != base


def test_features_that_nobody_reads_are_not_checked(tmp_path):
    jsonl(tmp_path / "a.jsonl", [{"x": "a", "id": 1}, {"x": "b", "id": "two"}])
    dataset = described(path=str(tmp_path / "a.jsonl"))
    source = load_source(dataset, wanted={"x"})
    assert list(source.splits["train"]) == [{"x": "a"}, {"x": "b"}]
    assert set(source.features) == {"x", "id"}
    with pytest.raises(UserError, match="line 2: feature 'id': expected a number, got 'two'"):
        list(load_source(dataset).splits["train"])
    one, two = (
        load_source(dataset, bad_rows="skip", wanted=wanted) for wanted in ({"x"}, {"x", "id"})
    )
    assert (len(one.splits["train"]), len(two.splits["train"])) == (2, 1)
    assert one.identity != two.identity


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("reviews.jsonl[:0]", "split 'test': no rows"),
        ("reviews.jsonl[20:10]", "split 'test': no rows"),
        ("reviews.jsonl[:1%]", "split 'test': no rows"),
        ("reviews.jsonl[:26]", "split 'test': the slice reaches row 26 of 25"),
    ],
)
def test_empty_slices(reviews, tmp_path, split, message):
    splits: Any = {"train": "reviews.jsonl", "test": split}
    source = load_source(described(path=str(tmp_path), splits=splits))
    with pytest.raises(UserError, match=message):
        list(source.splits["test"])


def test_rows_are_counted_though_another_split_reaches_beyond_them(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"x": "a"}\n{"x":\n')
    splits: Any = {"train": "a.jsonl", "test": "a.jsonl[:2]"}
    source = load_source(described(path=str(tmp_path), splits=splits), bad_rows="skip")
    assert len(source.splits["train"]) == 1
    assert source.skipped is not None
    assert source.skipped() == {"mine": {"train": 1, "test": 0}}
    with pytest.raises(UserError, match="split 'test': the slice reaches row 2 of 1"):
        list(source.splits["test"])


def test_the_name_of_a_set_inside_the_package_is_taken():
    with pytest.raises(
        UserError, match="source 'movie_lm': a set inside the package has this name"
    ):
        load_source(Dataset("movie_lm", path="a.txt"))


def test_required_features(tmp_path):
    jsonl(tmp_path / "a.jsonl", [{"x": "a", "y": 1}, {"x": "b"}, {"y": 2}, {"x": None, "y": 3}])
    dataset = described(path=str(tmp_path / "a.jsonl"))
    with pytest.raises(UserError, match="a.jsonl, line 3: feature 'x': missing"):
        list(load_source(dataset, required={"x"}).splits["train"])
    skipping = load_source(dataset, bad_rows="skip", required={"x"})
    assert list(skipping.splits["train"]) == [{"x": "a", "y": 1}, {"x": "b", "y": None}]


LISTS = [["New", "York"], ["it's", 'a "quote"', "[", "a, b"], []]


@pytest.mark.parametrize("write", [repr, json.dumps])
def test_lists_in_cells_are_those_of_json(tmp_path, write):
    jsonl(tmp_path / "d.jsonl", [{"words": words, "y": words} for words in LISTS])
    with (tmp_path / "d.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("words", "y"), *((write(words), write(words)) for words in LISTS)])
    features: Any = {"words": {"kind": "tokens"}, "y": {"kind": "tags"}}
    json_rows, csv_rows = (
        list(load_source(described(splits={"train": file}, path=str(tmp_path), features=features))
             .splits["train"])
        for file in ("d.jsonl", "d.csv")
    )  # fmt: skip
    assert csv_rows == json_rows == [{"words": words, "y": words} for words in LISTS]


def test_a_cell_that_only_looks_like_a_list_is_named(tmp_path):
    (tmp_path / "d.csv").write_text("words\na b\n[ laughs ] well\n")
    features: Any = {"words": {"kind": "tokens"}}
    source = described(splits={"train": "d.csv"}, path=str(tmp_path), features=features)
    with pytest.raises(UserError, match=r"d.csv, line 3: feature 'words': '\[ laughs \] well'"):
        len(load_source(source).splits["train"])
    features["words"]["separator"] = " "
    source = described(splits={"train": "d.csv"}, path=str(tmp_path), features=features)
    rows = list(load_source(source).splits["train"])
    assert rows == [{"words": ["a", "b"]}, {"words": ["[", "laughs", "]", "well"]}]
    assert parse_dataset("mine", dump_dataset(source)) == source
