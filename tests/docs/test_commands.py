"""Commands in the documentation name subcommands, options and presets that there are."""

import re
from pathlib import Path

import pytest

from mtljax.cli import main
from mtljax.cli.main import COMMANDS
from mtljax.presets import PRESETS
from mtljax.training.method_cards import method_cards

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "benchmarks/README.md", *sorted(ROOT.glob("docs/**/*.md"))]
COMMAND = re.compile(r"(?:^|\s)(?:scripts/)?mtljax (\w+)(.*)")

pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="a source distribution has no docs"
)


def commands() -> list[tuple[str, str, str]]:
    """Page, subcommand and arguments of each command in a block of shell code."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.S | re.M):
            for line in block.replace("\\\n", " ").splitlines():
                for name, arguments in COMMAND.findall(re.sub(r"\s#.*", "", line)):
                    found.append((page.name, name, arguments))
    return found


def test_options_of_commands(capsys):
    cards = method_cards()
    known: dict[str, set[str]] = {}
    found = commands()
    assert len(found) > 50
    for page, name, arguments in found:
        assert name in COMMANDS, f"{page}: {name}"
        if name not in known:
            assert main([name, "--help-all"]) == 0
            known[name] = set(re.findall(r"--[a-z][a-z0-9.-]*", capsys.readouterr().out))
        named = {o.replace("_", "-") for o in re.findall(r"(?<=\s)--[a-z][\w.-]*", arguments)}
        methods = re.findall(r"--weighting[ =](\w+)", arguments)
        own = {f"--weighting.{option}" for m in methods for option in cards[m].options}
        around = {option for option in named if option.startswith("--weighting.")}
        assert named - around <= known[name], f"{page}: mtljax {name}{arguments}"
        assert {o.replace("-", "_") for o in around} <= {
            o.replace("-", "_") for o in own | WRAPPED
        }, f"{page}: {arguments}"
        assert {*re.findall(r"--preset[ =](\w+)", arguments)} <= {*PRESETS, "NAME"}, page


def test_every_command_is_on_its_page():
    rows = re.findall(r"^\| (`.*`) \|", (ROOT / "docs/command.md").read_text("utf-8"), re.M)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == COMMANDS.keys()


WRAPPED = {
    f"--weighting.{name}"
    for name in (
        *("normalize", "scale", "rescale", "cr_mogm", "moving_average", "every"),
        *("heads", "inner_lr", "inner_steps", "groups"),
    )
}
