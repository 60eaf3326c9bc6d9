import dataclasses
import io
import sys
from typing import Annotated

import pytest
import tyro

from mtljax.cli.options import (
    data_directory,
    one_line,
    options_from,
    parse,
    print_json,
    printable,
    python_command,
)
from mtljax.errors import UserError

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


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of which some are options.

    Attributes:
      first: the first one.
      second: the second one.
      texts: some texts.
    """

    first: int = 1
    second: int = 2
    texts: tuple[str, ...] = ()


Chosen = options_from(Settings, "second", texts=tyro.conf.UseAppendAction[tuple[str, ...]])


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a command."""

    settings: Annotated[Settings, tyro.conf.arg(name="", constructor=Chosen)] = Settings(first=3)


def test_options_from_some_fields(capsys):
    settings = parse(Options, "x", ["--second", "4", "--texts", "a", "--texts", "b"]).settings
    assert dataclasses.astuple(settings) == (3, 4, ("a", "b"))
    assert dataclasses.astuple(parse(Options, "x", []).settings) == (3, 2, ())
    with pytest.raises(UserError, match="unrecognized options: --first"):
        parse(Options, "x", ["--first", "1"])
    with pytest.raises(SystemExit):
        parse(Options, "x", ["--help"])
    out = capsys.readouterr().out
    assert "the second one. (default: 2)" in out
    assert "first" not in out
    assert dataclasses.fields(Settings)[0].type is int


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


def test_the_python_that_is_named_can_be_called_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my env/bin").mkdir(parents=True)
    python = tmp_path / "my env/bin/python"
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", "/nowhere")
    assert python_command("a b.py", "text") == "next: 'my env/bin/python' 'a b.py' text"
    monkeypatch.setenv("PATH", str(python.parent))
    assert python_command("a.py") == "next: python a.py"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.setenv("PATH", "/nowhere")
    assert python_command("a.py") == f"next: '{python}' a.py"
