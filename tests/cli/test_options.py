import pytest

from mtljax.cli.options import data_directory, json_line, one_line, printable

BOX = """\
╭─ Unrecognized options ───────────────────────────────────────────────────────╮
│ Unrecognized options: --encoder.featurs, 3                                   │
│ ──────────────────────────────────────────────────────────────────────────── │
│ Perhaps you meant:                                                           │
│     --encoder.features INT                                                   │
│         width of the encoder's output. (default: 128)                        │
│     --encoder.heads INT                                                      │
│ ──────────────────────────────────────────────────────────────────────────── │
│ For full helptext, run mtljax train --help                                   │
╰──────────────────────────────────────────────────────────────────────────────╯
"""


def test_a_box_becomes_a_line():
    expected = "unrecognized options: --encoder.featurs, 3; did you mean --encoder.features?"
    assert one_line(BOX) == expected
    assert one_line("") == "wrong arguments"
    assert one_line("Plain\nlines") == "plain lines"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a b c"),
        ("a\0b\x1b[31m", "a\ufffdb\ufffd[31m"),
        ("\ud800é", "?é"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


def test_json_lines_are_always_utf8():
    assert json_line({"a": "é"}) == '{"a": "é"}'
    assert json_line("\udcff") == '"\\udcff"'
    assert json_line("a\nb") == '"a\\nb"'


def test_data_directory(monkeypatch):
    monkeypatch.setenv("MTLJAX_DATA_DIR", "there")
    assert data_directory("here") == "here"
    assert data_directory(None) == "there"
    monkeypatch.setenv("MTLJAX_DATA_DIR", "")
    assert data_directory(None) is None
