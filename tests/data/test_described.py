import gzip
import json
from typing import Any

import pytest

import mtljax.data.file_rows as file_rows
from mtljax.data import Feature, load_source
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
    assert source.splits["validation"][0] == {"body": "text 9", "stars": 4.5, "label": 0}
    assert source.features["label"] == Feature("label", ("no", "yes"))
    assert set(source.features) == {"body", "stars", "label"}


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


def test_tables(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"one, two",yes\nthree,\n')
    (tmp_path / "b.csv").write_text("label,more,text\nno,1,four\n")
    splits: Any = {"train": ["a.csv", "b.csv"]}
    features: Any = {"label": {"kind": "label", "classes": ["no", "yes"]}}
    source = load_source(described(path=str(tmp_path), splits=splits, features=features))
    assert list(source.splits["train"]) == [
        {"text": "one, two", "label": 1},
        {"text": "three", "label": None},
        {"text": "four", "label": 0},
    ]
    (tmp_path / "c.tsv").write_text('5\tsay "a\n3\tb\n')
    features = {"stars": 0, "text": {"column": -1, "kind": "tokens"}}
    one = described(path=str(tmp_path / "c.tsv"), header=False, features=features)
    assert list(load_source(one).splits["train"]) == [
        {"stars": 5, "text": ["say", '"a']},
        {"stars": 3, "text": ["b"]},
    ]


def test_columns_and_plain_text(tmp_path):
    (tmp_path / "a.conll").write_text("EU B-ORG\nsays O\n\nPeter B-PER\n")
    features: Any = {"tokens": 0, "tags": {"column": 1, "classes": ["O", "B-ORG", "B-PER"]}}
    source = load_source(described(path=str(tmp_path / "a.conll"), features=features))
    assert list(source.splits["train"]) == [
        {"tokens": ["EU", "says"], "tags": [1, 0]},
        {"tokens": ["Peter"], "tags": [2]},
    ]
    assert source.features["tags"] == Feature("tags", ("O", "B-ORG", "B-PER"))
    named = load_source(described(path=str(tmp_path / "a.conll"), features={"w": 0, "t": 1}))  # pyright: ignore
    assert named.features == {"w": Feature("tokens"), "t": Feature("tokens")}
    (tmp_path / "a.txt").write_text("one\ntwo\n\nthree\n")
    lines = load_source(described(path=str(tmp_path / "a.txt")))
    assert [row["text"] for row in lines.splits["train"]] == ["one", "two", "three"]
    pages = load_source(described(path=str(tmp_path / "a.txt"), paragraphs=True))
    assert [row["text"] for row in pages.splits["train"]] == ["one\ntwo", "three"]


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


def test_fingerprints_follow_the_content(reviews, tmp_path):
    def digest(source: Any = None, **fields):
        found = load_source(source or Dataset("mine", path="reviews.jsonl", **fields), tmp_path)
        assert found.fingerprint is not None
        assert len(bytes.fromhex(found.fingerprint())) == 32
        return found.fingerprint()

    base = digest()
    assert digest(Dataset("other", path=str(reviews))) == base
    seen = {
        base,
        digest(splits={"train": "[:9]"}),
        digest(splits={"train": "[:8]"}),
        digest(features={"label": {"column": "meta.label", "classes": ["no", "yes"]}}),
        digest(features={"label": {"column": "meta.label", "classes": ["yes", "no"]}}),
        digest("movie_sentiment"),
        digest("movie_casepunct"),
        digest(Dataset("part", dataset="movie_lm", splits={"train": "test"})),  # pyright: ignore
        load_source(Dataset("m", path="reviews.jsonl"), tmp_path, bad_rows="skip").fingerprint(),  # pyright: ignore
        load_source(Dataset("m", path="reviews.jsonl"), tmp_path, wanted={"text"}).fingerprint(),  # pyright: ignore
    }
    assert len(seen) == 10
    reviews.rename(tmp_path / "moved.jsonl")
    assert digest(Dataset("mine", path="moved.jsonl")) == base
    jsonl(reviews, [*ROWS[:-1], {**ROWS[-1], "text": "text 42"}])
    assert digest() not in seen


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
