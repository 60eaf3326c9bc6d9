from typing import Any

import pytest

from mtljax.data import Feature, load_source
from mtljax.errors import UserError
from mtljax.tasks import Dataset


def described(**fields):
    return Dataset("mine", **fields)


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


def test_columns_by_the_names_that_the_file_has(tmp_path):
    path = tmp_path / "a.cupt"
    path.write_text(
        "# global.columns = ID FORM UPOS MWE\n1-2\tdu\t_\t*\n1\tde\tADP\t*\n2\tle\tDET\t1\n\n"
    )
    features: Any = {"tokens": "FORM", "tags": "UPOS", "mwe": -1, "same": 2}
    source = load_source(described(path=str(path), features=features))
    expected = {"tokens": ["de", "le"], "tags": ["ADP", "DET"], "mwe": ["*", "1"]}
    assert list(source.splits["train"]) == [expected | {"same": ["ADP", "DET"]}]
    wrong: Any = {"tokens": "FORM", "tags": "XPOS"}
    with pytest.raises(UserError, match=r"a\.cupt: feature 'tags': .* not 'XPOS'; did you mean"):
        load_source(described(path=str(path), features=wrong))
