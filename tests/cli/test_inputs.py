import io
from types import SimpleNamespace

import pytest

from mtljax.cli.inputs import parse_argument, parse_line, read_texts
from mtljax.errors import UserError


def test_lines_of_every_form(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf"a string"\n{"text": "an object", "id": 3}\r\n'
        b'{"tokens": ["two", "words"]}\nplain text, with "quotes"\n\ncaf\xe9 \x00\nlast'
    )
    assert [one.text for one in read_texts(str(path))] == [
        "a string",
        "an object",
        ["two", "words"],
        'plain text, with "quotes"',
        "",
        "caf\ufffd \0",
        "last",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": 3}', "expected a string"),
        ('{"tokens": ["a", 3]}', "expected a string"),
        ('["a", "b"]', "expected a string"),
        ("{}", "expected a string"),
        ('{"text": "a"', "not JSON: .*column"),
        ('"open', "not JSON"),
        ('"a" b', "not JSON"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_an_invalid_line_is_named(tmp_path, line, message):
    path = tmp_path / "texts.jsonl"
    path.write_text(f"fine\n{line}\nfine\n")
    texts = read_texts(str(path))
    assert next(texts) == (1, "fine", "fine")
    with pytest.raises(UserError, match=f"texts.jsonl:2: {message}"):
        next(texts)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="--input .*nowhere: No such file"):
        read_texts(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="Is a directory"):
        read_texts(str(tmp_path))


def test_stdin(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'a\n{"text": 1}\n')))
    texts = read_texts("-")
    assert next(texts) == (1, "a", "a")
    with pytest.raises(UserError, match="stdin:2: "):
        next(texts)


def test_texts_by_the_names_of_features():
    both = {"premise": "a", "hypothesis": ["b", "c"]}
    assert parse_line('{"premise": "a", "id": 3, "hypothesis": ["b", "c"]}') == both
    assert parse_line('{"text": "a", "title": "b"}') == {"text": "a", "title": "b"}
    assert parse_argument(' {"premise": "a"}') == {"premise": "a"}
    assert parse_argument('{"text": "a"}') == "a"


@pytest.mark.parametrize("text", ["a", '"a"', '["a"]', "{", "{a}", '{"a": 3}', "{" * 200_000])
def test_any_other_argument_is_a_text(text):
    assert parse_argument(text) == text


def test_surrogates_of_json_stay():
    assert parse_line('"\\ud800"') == "\ud800"
