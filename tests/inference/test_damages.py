"""A sample of what `tests/faults/test_damages.py` tries: what is read is what the run wrote."""

import os
import random
import shutil

import jax
import numpy as np
import pytest

from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.training.persistence import run_directory
from tests.faults.damages import WITHOUT_EFFECT, damage

COUNT = int(os.environ.get("MTLJAX_DAMAGES", "12"))


@pytest.fixture(scope="module")
def loaded(tiny_run, tmp_path_factory):
    """The run from each of its checkpoints, by step."""
    runs = {}
    steps = [path.name for path in (tiny_run / "checkpoints").iterdir()]
    for step in steps:
        alone = tmp_path_factory.mktemp("alone") / "run"
        shutil.copytree(tiny_run, alone)
        for other in set(steps) - {step}:
            shutil.rmtree(alone / "checkpoints" / other)
        runs[int(step)] = load_run(alone, pytest.fail)
    return runs


@pytest.mark.parametrize("digests", [True, False])
def test_any_damage(tiny_run, loaded, tmp_path, digests):
    """All that answers depend on is compared. Without digests, as of an older version, it may be
    another, but errors are told as well."""
    summary = run_directory.read_summary(tiny_run)
    assert summary is not None
    best = summary["best_step"]
    seen_to_matter = 0
    for seed in range(COUNT):
        directory = tmp_path / f"{seed}"
        shutil.copytree(tiny_run, directory)
        if not digests:
            for file in directory.rglob("digests.json"):
                file.unlink()
        name, what = damage(directory, random.Random(seed))
        label, said = f"seed {seed}: {what} of {name}", []
        try:
            run = load_run(directory, said.append)
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 600, label
            seen_to_matter += 1
            continue
        finally:
            shutil.rmtree(directory)
        assert all("\n" not in line for line in said), label
        if not digests:
            continue
        expected = loaded[run.step]
        assert (run.config, run.tasks) == (expected.config, expected.tasks), label
        for field in ("tokenizer", "layout"):
            assert getattr(run, field).to_json() == getattr(expected, field).to_json(), label
        for one, two in zip(*map(jax.tree.leaves, (run.params, expected.params)), strict=True):
            assert np.asarray(one).tobytes() == np.asarray(two).tobytes(), label
        assert len(said) == 1 if run.step != best else len(said) <= 1, (label, said)
        assert name not in WITHOUT_EFFECT or not said, label
        seen_to_matter += run.step != best
    # Which files are hit differs from machine to machine; but hardly ever all miss.
    assert seen_to_matter
