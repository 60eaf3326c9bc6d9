import json
import shutil

import pytest

from mtljax.cli.evaluate import values_table
from mtljax.cli.options import Output


def test_json_has_the_values_of_the_summary(mtljax, tiny_run):
    code, out, err = mtljax("evaluate", tiny_run, "--split", "validation", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    summary = json.loads((tiny_run / "summary.json").read_text())
    assert (found["split"], found["step"]) == ("validation", summary["best_step"])
    for task, splits in summary["tasks"].items():
        for name, value in splits["validation"].items():
            assert found["tasks"][task][name] == pytest.approx(value, rel=1e-5)


def test_a_file_of_ones_own(mtljax, tiny_run, tmp_path):
    own = tmp_path / "own [1].csv"
    own.write_text("text,label\na great film,positive\nbad,negative\n")
    code, out, err = mtljax("evaluate", tiny_run, "--input", own, "--json")
    found = json.loads(out)
    assert code == 0 and found["split"] == str(own) and set(found["tasks"]) == {
        "sentiment", "writer"
    }  # fmt: skip
    assert "task 'stars' is not measured: no column 'rating'; there are 'label', 'text'" in err
    code, out, err = mtljax("evaluate", tiny_run, "--input", own, "--task", "sentiment")
    assert code == 0 and err == "" and f"{own}, checkpoint of step" in out


def test_table(capsys):
    values = {"a": {"accuracy": 0.5, "loss": 0.7}, "b": {"loss": 0.25}}
    Output().print(values_table(values))
    out = capsys.readouterr().out
    lines = [line.strip("│┃| ").split() for line in out.splitlines()]
    rows = [[cell for cell in line if cell not in "│┃|"] for line in lines]
    assert ["task", "metric", "value"] in rows
    assert ["a", "accuracy", "50.0", "%"] in rows
    assert ["b", "loss", "0.25"] in rows
    assert ["a", "loss", "0.7"] not in rows


def test_a_damaged_checkpoint_is_a_warning(mtljax, tiny_run, tmp_path):
    copied = shutil.copytree(tiny_run, tmp_path / "run")
    best = json.loads((tiny_run / "summary.json").read_text())["best_step"]
    for path in (copied / "checkpoints" / str(best) / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:20])
    code, out, err = mtljax("predict", copied, "a", "--task", "stars")
    assert code == 0
    assert out
    assert err.startswith(f"warning: checkpoint {best} of {copied} cannot be read: ")
    assert err.count("\n") == 1


def test_bad_input(refused, tiny_run, tmp_path):
    assert "'tset'" in refused("evaluate", tiny_run, "--split", "tset")
    assert "no such directory" in refused("evaluate", tiny_run, "--data-dir", tmp_path / "no")
    copied = shutil.copytree(tiny_run, tmp_path / "run")
    tokenizer = copied / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes()[:1000])
    line = refused("evaluate", copied)
    assert line.startswith(f"{copied}: tokenizer.json has 1000 bytes, ")
    assert line.endswith("put it back, or remove digests.json there to use it as it is")
