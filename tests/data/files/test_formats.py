import gzip
import json
from typing import Any

import pytest

from mtljax.data import Feature, load_source
from mtljax.data.files import file_rows
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


SENTENCES = {
    "jsonl": '{"text": "café one", "label": "a"}\n{"text": "two", "label": "b"}\n' * 20,
    "json": json.dumps([{"text": "café one", "label": "a"}, {"text": "two", "label": "b"}] * 20),
    "csv": "text,label\n" + 'café one,a\n"two",b\n' * 20,
    "tsv": "text\tlabel\n" + "café one\ta\ntwo\tb\n" * 20,
    "conll": "café X\none Y\n\ntwo X\n\n" * 20,
    "txt": "café one\ntwo\n" * 20,
}


@pytest.mark.parametrize("ending", SENTENCES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_every_format_reads_all_line_ends_and_marks(
    tmp_path, monkeypatch, ending, encoding, line_end, in_memory
):
    if not in_memory:  # then rows are read again from marks within the file
        monkeypatch.setattr(file_rows, "IN_MEMORY", 5)
        monkeypatch.setattr(file_rows, "_MARK_EVERY", 4)
    content = SENTENCES[ending].replace("\n", line_end).encode(encoding)
    (tmp_path / f"a.{ending}").write_bytes(gzip.compress(content))
    features: Any = {"text": 0, "label": 1} if ending == "conll" else {}
    splits: Any = {"train": f"a.{ending}"}
    source = load_source(described(path=str(tmp_path), splits=splits, features=features))
    rows = source.splits["train"]
    assert len(rows) == 40
    texts = [row["text"] if ending != "conll" else " ".join(row["text"]) for row in rows]
    assert texts == ["café one", "two"] * 20
    assert rows[31]["text"] in ("two", ["two"]) and rows[6]["text"] in (
        "café one",
        texts[0].split(),
    )
    if ending not in ("txt", "conll"):
        assert [row["label"] for row in rows] == ["a", "b"] * 20


def test_names_of_classes_in_any_file(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,x y\nb,é\n")
    (tmp_path / "classes").write_bytes(gzip.compress("é\rx y\r".encode("utf-16")))
    features: Any = {"label": {"kind": "label", "classes": "classes"}}
    source = load_source(described(path=str(tmp_path / "a.csv"), features=features))
    assert source.features["label"].classes == ("é", "x y")
    (tmp_path / "classes").write_bytes(b"a\n\xff\n")
    with pytest.raises(UserError, match="classes: cannot be read: line 2: not UTF-8 text"):
        load_source(described(path=str(tmp_path / "a.csv"), features=features))


def test_dialects_of_tables(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text, label\n"he said \\"hi\\", so", "a"\n"b", "b"\n')
    one = described(path=str(path), escape="\\", skip_blanks=True)
    assert next(iter(load_source(one).splits["train"])) == {
        "text": 'he said "hi", so',
        "label": "a",
    }
    path.write_text('text, label\n"a, b", "a"\n"b", "b"\n')
    with pytest.raises(UserError, match="a.csv: column 1 has blanks before its quotes: give the"):
        load_source(described(path=str(path)))
    kept = load_source(described(path=str(path), skip_blanks=False))
    assert next(iter(kept.splits["train"]))["label"] == ' "a"'
    path.write_text('"a", "a"\n"b", "b"\n')
    with pytest.raises(UserError, match="column 1 has blanks before its quotes"):
        load_source(described(path=str(path), header=False, features={"text": 0}))  # pyright: ignore
