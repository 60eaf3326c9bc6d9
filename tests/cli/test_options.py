import io

import pytest

from mtljax.cli.options import data_directory, one_line, print_json, printable

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

PLAIN = """\
 Unrecognized options
 ---------------------------------------------
  Unrecognized options: --encoder.featurs, 3
  -------------------------------------------
  Perhaps you meant:
      --encoder.features INT
  -------------------------------------------
  For full helptext, run mtljax train --help
"""


def test_a_box_becomes_a_line():
    expected = "unrecognized options: --encoder.featurs, 3; did you mean --encoder.features?"
    assert one_line(BOX) == one_line(PLAIN) == expected
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


@pytest.mark.parametrize(
    ("value", "encoding", "line"),
    [
        ({"a": "é"}, "utf-8", '{"a": "é"}'),
        ({"a": "é"}, "ascii", '{"a": "\\u00e9"}'),
        ("\udcff", "utf-8", '"\\udcff"'),
        ("a\nb", "utf-8", '"a\\nb"'),
        ({"a": [float("nan"), 1.5]}, "utf-8", '{"a": [null, 1.5]}'),
    ],
)
def test_json_is_valid_in_any_encoding(value, encoding, line):
    file = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True, newline="")
    print_json(value, file)
    assert file.buffer.getvalue().decode(encoding) == line + "\n"


def test_data_directory(monkeypatch):
    monkeypatch.setenv("MTLJAX_DATA_DIR", "there")
    assert data_directory("here") == "here"
    assert data_directory(None) == "there"
    monkeypatch.setenv("MTLJAX_DATA_DIR", "")
    assert data_directory(None) is None
