import json
import shutil

import jax

from mtljax.inference import load_run
from mtljax.pretrained import load
from tests.pretrained.test_families import GOLDEN


def test_a_pretrained_model(mtljax, tmp_path):
    code, out, err = mtljax("inspect", GOLDEN / "bert", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    size = sum(leaf.size for leaf in jax.tree.leaves(load(GOLDEN / "bert").params))
    assert found["total_parameters"] == size and found["loads"]
    assert found["precision"] == {"F32": 42} and found["architecture"]["norm_placement"] == "after"
    directory = shutil.copytree(GOLDEN / "bert", tmp_path / "model")
    (directory / "model.safetensors").unlink()
    code, out, err = mtljax("inspect", directory)
    assert (code, err) == (1, "")
    assert "can be loaded no: " in out and "has no model.safetensors" in out


def test_a_run(mtljax, tiny_run):
    code, out, err = mtljax("inspect", tiny_run, "--json")
    assert (code, err) == (0, "")
    found, run = json.loads(out), load_run(tiny_run)
    assert found["total_parameters"] == sum(leaf.size for leaf in jax.tree.leaves(run.params))
    assert list(found["more"]["tasks"]) == [task.name for task in run.tasks]
    assert found["parameters"]["embedding"] == sum(
        leaf.size for leaf in jax.tree.leaves(run.params["shared"]["embedding"])
    )


def test_something_else(mtljax, tmp_path):
    for path, reason in ((tmp_path, "neither a run"), (tmp_path / "no", "no such directory")):
        code, out, err = mtljax("inspect", path)
        assert (code, out) == (2, "") and reason in err and err.count("\n") == 1
