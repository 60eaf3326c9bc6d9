"""Runs of one ancestor, merged into a new one."""

import dataclasses
import functools
import json
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.merging import dare, ties
from mtljax.modules import HeadsConfig
from mtljax.presets import like_run
from mtljax.training import train
from mtljax.training.merged_run import MergeSettings, merge_runs
from mtljax.training.persistence.start_record import parameters_digest
from mtljax.training.persistence.start_record import read_start as read


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A directory for the runs of this module."""
    return tmp_path_factory.mktemp("merged")


@pytest.fixture
def runs(tiny, unaveraged, tasks, kept):
    """Two runs of one ancestor, one of another; trained once."""
    if not (kept / "b").exists():
        # Poolings and pairs enough for the scale of so short a training to be seen in its answers.
        encoder = dataclasses.replace(unaveraged.encoder, ngrams=2)
        config = dataclasses.replace(
            unaveraged, steps=2, evaluate_every=2, encoder=encoder, heads=HeadsConfig(negatives=0)
        )
        train(config, (tasks["number"],), kept / "ancestor")
        begun = like_run(config, str(kept / "ancestor"))
        train(begun, (tasks["label"],), kept / "a")
        train(begun, (tasks["grade"],), kept / "b")
    return kept


def same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def read_start(run):
    start = read(run)
    assert start is not None
    return start


def test_a_run_keeps_the_digest_of_what_it_began_from(runs):
    ancestor = load_run(runs / "ancestor")
    start = read_start(runs / "a")
    assert start == {
        "from": "run",
        "directory": str(runs / "ancestor"),
        "step": 2,
        "shared": parameters_digest(ancestor.params["shared"]),
    }
    assert read(runs / "ancestor") is None
    other = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, ancestor.params["shared"])
    assert parameters_digest(other) != start["shared"]


def test_the_merged_run_answers_all_tasks(tiny, runs, tmp_path):
    settings = MergeSettings("dare-ties", scale=(0.5,), density=(0.3,), drop=(0.6,), seed=3)
    summary = merge_runs([runs / "a", runs / "b"], tmp_path / "run", settings)
    base, one, other = (load_run(runs / name).params["shared"] for name in ("ancestor", "a", "b"))

    @jax.jit
    def by_hand(base, models):
        keys = [jax.random.fold_in(jax.random.key(3), i) for i in (0, 1)]
        thin = [dare(key, base, m, drop=0.6) for key, m in zip(keys, models, strict=True)]
        return ties(base, thin, 0.5, density=0.3)

    expected = by_hand(base, [one, other])
    merged = load_run(tmp_path / "run")
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7)
    jax.tree.map(close, merged.params["shared"], expected)
    for name, run in (("label", "a"), ("grade", "b")):
        same(merged.params["heads"][name], load_run(runs / run).params["heads"][name])
    assert set(merged.predict(["w1 w2"])[0]) == {"label", "grade"}
    assert summary["steps"] == 0 and set(summary["tasks"]) == {"label", "grade"}
    about = read_start(tmp_path / "run")
    assert about["shared"] == parameters_digest(merged.params["shared"])
    assert [run["directory"] for run in about["runs"]] == [str(runs / "a"), str(runs / "b")]


def test_validation_chooses_the_scale(tiny, runs, tmp_path, capsys):
    settings = MergeSettings(scale=(0.0, 1.0, 40.0), drop=(0.5,))
    summary = merge_runs(
        [runs / "a", runs / "b"], tmp_path / "run", settings, console=Console(width=400)
    )
    about = json.loads((tmp_path / "run" / "start.json").read_text())
    scores = {tried["scale"]: tried["score"] for tried in about["tried"]}
    assert list(scores) == [0.0, 1.0, 40.0] and scores[about["scale"]] == max(scores.values())
    assert summary["score"] == scores[about["scale"]] and len(set(scores.values())) > 1
    shared = [load_run(run).params["shared"] for run in
              (runs / "ancestor", runs / "a", runs / "b", tmp_path / "run")]  # fmt: skip
    for base, one, other, found in zip(*map(jax.tree.leaves, shared), strict=True):
        expected = base + about["scale"] * ((one - base) + (other - base))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    end = "; no larger scale was tried\n" if about["scale"] == 40 else "\n"
    told = capsys.readouterr().out
    assert f"taken: scale {about['scale']:g}{end}" in told
    assert "drop: has no effect" in told and "density" not in told


def test_what_has_no_common_ancestor_is_refused(tiny, runs, tmp_path):
    shutil.copytree(runs / "b", tmp_path / "other")
    start = json.loads((tmp_path / "other" / "start.json").read_text())
    (tmp_path / "other" / "digests.json").unlink()
    (tmp_path / "other" / "start.json").write_text(json.dumps({**start, "shared": "1:2"}))
    cases = [
        (("a", "ancestor"), "ancestor has no ancestor; it began neither"),
        (("a",), "name two at least, got 1"),
        (("a", "a"), "one is named twice"),
        (("a", tmp_path / "other"), "have no common ancestor; one began from .*, the other from"),
    ]
    for names, message in cases:
        with pytest.raises(UserError, match=message) as raised:
            merge_runs([runs / name for name in names], tmp_path / "run")
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"ancestor .*/b: its parameters are not those"):
        merge_runs([runs / "a", runs / "b"], tmp_path / "run", ancestor=runs / "b")
    with pytest.raises(UserError, match="holds a run; choose another"):
        merge_runs([runs / "a", runs / "b"], runs / "ancestor")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/run: Not a directory"):  # before a run is read
        merge_runs([runs / "a", runs / "none"], tmp_path / "file/run")
    shutil.copytree(runs / "a", tmp_path / "again")
    with pytest.raises(UserError, match="task 'label': is in .*/a and in .*/again"):
        merge_runs([runs / "a", tmp_path / "again"], tmp_path / "run")
    for field, value, message in (
        ("scale", (), "scale: give one value at least"),
        ("density", (0.0,), r"density: must be in \(0, 1\], got 0.0"),
        ("drop", (1.0,), r"drop: must be in \[0, 1\), got 1.0"),
    ):
        with pytest.raises(UserError, match=message):
            merge_runs([runs / "a"], tmp_path / "run", MergeSettings(**{field: value}))
    assert not (tmp_path / "run").exists()


def test_the_ancestor_is_found_where_it_is_said_to_be(tiny, runs, tmp_path):
    away, ancestor = runs / "away", runs / "ancestor"
    ancestor.rename(away)
    settings = MergeSettings(scale=(0.5,))
    try:
        with pytest.raises(UserError, match="is no more there; --ancestor says where it is"):
            merge_runs([runs / "a", runs / "b"], tmp_path / "run", settings)
        merge_runs([runs / "a", runs / "b"], tmp_path / "run", settings, ancestor=away)
    finally:
        away.rename(ancestor)
    assert read_start(tmp_path / "run")["ancestor"]["directory"] == str(away)
