import io
import json

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtljax.cli import main
from mtljax.cli.options import Output, print_json, warn
from mtljax.errors import UserError, visible
from mtljax.training.reporting.progress import notes_on

CONTROLS = ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x7f", "\r", "\x00"]
CONTROLS += ["\u202e", "\u2066", "\u2028"]
LETTERS = "é नमस्ते\u200dक 👩\u200d🔬 \u200eעברית\t"


def controls(text):
    """Those characters of a text that a terminal obeys, or that reorder it."""
    c1 = map(chr, range(0x7F, 0xA0))
    odd = {*map(chr, range(32)), *c1, "\u2028", "\u202e", "\u2066"} - {"\t", "\n"}
    return [c for c in text if c in odd]


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_are_written_out_wherever_people_read(control, capsys, tmp_path):
    text = f"a{control}b"
    assert controls(text) and not controls(visible(text))
    assert visible(visible(text)) == visible(text)
    assert str(UserError(text)) == visible(text)

    file = io.StringIO()
    for console in (Output(file=file), Output(file=file, force_terminal=True, width=80)):
        table = Table("task", title="t")
        table.add_row(text)
        for renderable in (text, Text(text, style="bold"), table):
            console.print(renderable, soft_wrap=True)
    notes_on(Console(file=file))(f"[bold] {text}")
    shown = file.getvalue().replace("\x1b[1m", "").replace("\x1b[3m", "").replace("\x1b[0m", "")
    assert not controls(shown) and "[bold] a" in shown

    warn(text)
    if "\0" not in text:
        assert main(["predict", str(tmp_path / text), "word"]) == 2
    lines = capsys.readouterr().err
    assert not controls(lines)

    print_json({text: text}, file)
    line = file.getvalue().splitlines()[-1]
    assert not controls(line) and json.loads(line) == {text: text}


def test_letters_stay():
    assert visible(LETTERS) == LETTERS == str(UserError(LETTERS))
    file = io.StringIO()
    Output(file=file).print(LETTERS.strip())
    assert file.getvalue() == LETTERS.strip() + "\n"
