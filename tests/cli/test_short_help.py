"""Help on one screen, and all of it."""

import re

import pytest

from mtljax.kinds import KINDS
from mtljax.presets import PRESETS, Config, flatten, preset

COMMANDS = ("train", "relate", "plan", "extend")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_short_help_is_one_screen_of_options_that_there_are(command, mtljax, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    short, full = mtljax(command, "--help"), mtljax(command, "--help-all")
    assert short.code == full.code == 0
    lines = short.out.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 80
    named = set(re.findall(r"--[a-z][a-z0-9.-]*", short.out)) - {"--weighting.", "--help-all"}
    known = set(re.findall(r"--[a-z][a-z0-9.-]*", full.out))
    assert named <= known and len(named) >= 10
    fields = {f"--{name.replace('_', '-')}" for name in flatten(Config())}
    assert fields - {"--weighting-options"} - known == set()


def test_names_and_defaults_stand_in_it(mtljax):
    out = " ".join(mtljax("train", "--preset", "linear", "-h").out.split())
    assert all(name in out for name in (*KINDS, *PRESETS))
    optimizer = preset("linear").config.optimizer
    assert f"--optimizer.learning-rate X ({optimizer.learning_rate}) " in out
