import gzip

import pytest

from mtljax.data import load_source
from mtljax.errors import UserError
from mtljax.inference.input_rows import has_rows, read_rows
from mtljax.inference.inputs import select_input
from mtljax.tasks import Dataset, Task


def described(**fields):
    return Dataset("mine", **fields)


def task(inputs, *sources, kind="classification", name="t"):
    names = tuple(source.name for source in sources) or ("movie_lm",)
    return Task(name, names, kind, inputs, "label", sources=sources)


FILES = {
    "csv": ('body;label\n\'x;1\n"a; b";2\n', {"separator": ";"}, {"text": "body"}, "text"),
    "dialect.csv": (
        'body, label\n"he said \\"hi, you\\"", "a"\n"b", "c"\n',
        {"escape": "\\", "skip_blanks": True},
        {"text": "body"},
        "text",
    ),
    "plain.tsv": ('1\tsay "a\n2\tb c\n', {"header": False}, {"text": 1}, "text"),
    "words.csv": (
        "words,label\nEU|rejects,0\nPeter,1\n",
        {},
        {"tokens": {"column": "words", "kind": "tokens", "separator": "|"}},
        "tokens",
    ),
    "conll": ("EU NNP B-ORG\nsays VB O\n\n# note\nPeter NNP B-PER\n", {}, {"tokens": 0}, "tokens"),
    "paragraphs.txt": ("one\ntwo\n\n\nthree\n", {"paragraphs": True}, {}, "text"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_rows_are_those_of_training(tmp_path, name, encoding):
    content, options, features, feature = FILES[name]
    path = tmp_path / f"a.{name}"
    path.write_bytes(gzip.compress(content.replace("\n", "\r").encode(encoding)))
    source = described(path=str(path), features=features, **options)
    one = task(feature, source)
    assert has_rows(str(path), [one])
    rows = list(read_rows(str(path), [one]))
    expected = [row[feature] for split in load_source(source).splits.values() for row in split]
    assert [select_input(one, row, named=True) for _, row, _ in rows] == expected
    assert len(rows) == 2


def test_rows_without_targets_and_in_other_formats(tmp_path):
    source = described(
        splits={"train": "a.jsonl"}, features={"premise": "meta.premise", "hypothesis": "second"}
    )
    two = task(("premise", "hypothesis"), source)
    for head in ("meta.premise,second", "premise,hypothesis", "premise,second"):
        (tmp_path / "a.csv").write_text(f"id,{head}\n\n1,a,b\n")
        names = ["id", *head.split(",")]
        assert list(read_rows(str(tmp_path / "a.csv"), [two]))[0] == (
            3,
            {"premise": "a", "hypothesis": "b"},
            dict(zip(names, "1ab", strict=True)),
        )
    (tmp_path / "a.conll").write_text("a\nb\n\nc\n")
    words = task(
        "tokens", described(splits={"train": "x.conll"}, features={"tokens": 0, "tags": 3})
    )
    rows = list(read_rows(str(tmp_path / "a.conll"), [words]))
    assert rows == [(1, {"tokens": ["a", "b"]}, {}), (4, {"tokens": ["c"]}, {})]
    (tmp_path / "b.tsv").write_text("tokens\na b\n")
    rows = list(read_rows(str(tmp_path / "b.tsv"), [words]))
    assert rows == [(2, {"tokens": "a b"}, {"tokens": "a b"})]


def test_what_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "a.csv"
    one = task("text")

    def refusal(content, tasks=(one,)):
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            list(read_rows(str(path), tasks))
        return str(error.value)

    assert refusal(b"txt,label\na,b\n") == f"--input {path}: no column 'text'; did you mean 'txt'?"
    assert refusal(b"text,label\na,b\nc\n") == f"{path}:3: 1 columns where there should be 2"
    assert refusal(b"text\na\n\xff\n") == f"{path}:3: not UTF-8 text"
    assert refusal(b'text\n"a\n').startswith(f"{path}:2: not CSV: ")
    assert refusal(b"PK\x03\x04") == (
        f"--input {path}: a zip archive or a workbook, not a text file: unpack or export it"
    )
    assert refusal(gzip.compress(b"text\n" + b"abc\n" * 999)[:-20]).startswith(f"--input {path}: ")
    with pytest.raises(UserError, match="nowhere.csv: No such file"):
        read_rows(str(tmp_path / "nowhere.csv"), [one])
    others = [
        task("text", Dataset(name, {"train": "x.csv"}, separator=separator), name=name)
        for name, separator in (("a", ";"), ("b", ","))
    ]
    assert "the data sets 'a' and 'b' are read in different ways" in refusal(b"text\na\n", others)
    assert list(read_rows(str(path), others[:1])) == [(2, {"text": "a"}, {"text": "a"})]
    (tmp_path / "a.conll").write_text("a\n")
    with pytest.raises(UserError, match="no data set in CoNLL columns"):
        read_rows(str(tmp_path / "a.conll"), [one])
    assert not has_rows("a.txt", [one]) and not has_rows("a.jsonl", [one])
