"""``mtljax methods``: a table, one method, JSON, a name that is wrong."""

import json

from mtljax import aggregation, weighting
from mtljax.cli import main


def test_all_methods_are_listed_within_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    named = [line[2:15].strip() for line in lines if line.startswith("  ") and line[2:15].strip()]
    assert set(named) == weighting.METHODS.keys() | aggregation.METHODS.keys()
    assert len(named) == len(set(named)) and max(map(len, lines)) <= 80


def test_one_method_is_described(capsys):
    assert main(["methods", "cagrad"]) == 0
    out = capsys.readouterr().out
    assert "--weighting.c, --weighting." in out and "2110.14048" in out
    assert ">>>" not in out


def test_json_has_one_object_a_method(capsys):
    assert main(["methods", "dwa", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["options"] == {"temperature": 2.0, "period": 100}
    assert card["reads"] == ["losses"]
    assert main(["methods", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(listed) == len({card["name"] for card in listed}) >= 38


def test_a_name_that_is_wrong(capsys):
    assert main(["methods", "mgd"]) == 2
    assert "did you mean 'mgda'" in capsys.readouterr().err
