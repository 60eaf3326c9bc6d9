import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import weighting
from mtljax.errors import UserError
from mtljax.training.optimizer import make_optimizer
from mtljax.training.persistence.checkpoint_digests import check_checkpoint
from mtljax.training.persistence.checkpoints import Checkpoints, checkpoint_steps
from mtljax.training.restore import restore_params
from mtljax.training.step import make_step

VALUES = {"label": {"accuracy": 0.5, "loss": float("nan")}}


STATES: list = []


@pytest.fixture
def states(make, config, tasks):
    """Five states, a step apart, with a random key and half accumulated gradients in them."""
    if not STATES:
        config = dataclasses.replace(
            config,
            encoder=dataclasses.replace(config.encoder, kind="linear", ngram_buckets=32),
            optimizer=dataclasses.replace(config.optimizer, accumulate=2),
        )
        model, data = make(config, (tasks["label"],))
        batches = data.training_batches(0)
        method, optimizer = weighting.random(seed=3), make_optimizer(config.optimizer, 5)
        made = make_step(model, method, optimizer, config)
        STATES.append(jax.jit(made.init)(next(batches)))
        step = jax.jit(made.update)
        for _ in range(4):
            STATES.append(step(STATES[-1], next(batches))[0])
    return STATES


@pytest.fixture
def open_them(tmp_path):
    """Opens the checkpoints anew, as another process would; with the warnings it gave."""
    warnings = []
    opened = []

    def run():
        opened.append(Checkpoints(tmp_path / "checkpoints", warnings.append))
        return opened[-1], warnings

    yield run
    for checkpoints in opened:
        checkpoints.close()


def save_all(checkpoints, states, scores):
    for step, score in enumerate(scores, 1):
        checkpoints.save(step, states[step], {"next_index": step}, VALUES, score)
    checkpoints.close()


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def steps_in(path):
    return sorted(int(p.name) for p in (path / "checkpoints").iterdir() if p.name.isdigit())


def truncate(directory):
    """Cut every file in half, as a full disk would."""
    for file in directory.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_every_leaf_comes_back(states, open_them):
    checkpoints, _ = open_them()
    assert checkpoints.latest(states[0]) is None and checkpoints.latest_step() is None
    save_all(checkpoints, states, [0.5])
    checkpoints, warnings = open_them()
    step, state, progress = checkpoints.latest(states[0])
    assert step == 1 and type(state) is type(states[0])
    assert_same(state, states[1])
    assert state.optimizer.weighting.key.dtype == np.uint32
    assert int(state.sums.count) == 1
    assert progress["position"] == {"next_index": 1} and progress["score"] == 0.5
    assert progress["values"]["label"]["accuracy"] == 0.5
    assert not warnings


def test_a_state_is_saved_as_it_was_then(make, config, tasks, states, open_them):
    # The step that follows writes over the buffers of the state that is still being saved.
    checkpoints, _ = open_them()
    state = jax.tree.map(np.array, jax.device_get(states[1]))
    donated = jax.device_put(state)
    checkpoints.save(1, donated, {}, VALUES, 0.0)
    jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s), donate_argnums=0)(donated)
    checkpoints.close()
    checkpoints, _ = open_them()
    assert_same(checkpoints.latest(states[0])[1], state)


@pytest.mark.parametrize("name", ["[x]", "[!a]", "a*b?c", "**", "gs", "p|q#r%20s", "{a}", "~x"])
def test_a_directory_is_a_name_and_no_pattern(tmp_path, name):
    state, warnings = {"a": jnp.arange(4.0)}, []
    for step in (1, 2):
        checkpoints = Checkpoints(tmp_path / name / "checkpoints", warnings.append)
        if step == 2:
            restored = checkpoints.latest(state)
            assert restored is not None and restored[0] == 1
            np.testing.assert_array_equal(restored[1]["a"], state["a"])
        checkpoints.save(step, state, {}, {}, 1.0)
        checkpoints.close()
    assert checkpoint_steps(tmp_path / name / "checkpoints") == [1, 2] and not warnings
    like = {"params": state}
    checkpoints = Checkpoints(tmp_path / name / "other", warnings.append)
    checkpoints.save(1, like, {}, {}, 1.0)
    checkpoints.close()
    step, params = restore_params(tmp_path / name / "other", state, False, warnings.append)
    np.testing.assert_array_equal(params["a"], state["a"])
    assert step == 1 and not warnings


def test_keeps_the_best_and_the_two_latest(states, open_them, tmp_path):
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.9, 0.1, 0.2, 0.3])
    assert steps_in(tmp_path) == [1, 3, 4]
    checkpoints, _ = open_them()
    assert checkpoints.latest(states[0])[0] == 4
    step, state, _ = checkpoints.best(states[0])
    assert step == 1
    assert_same(state, states[1])


@pytest.mark.parametrize("score", [0.5, -1.0])
def test_of_equally_good_ones_the_same_is_best_after_an_interruption(states, open_them, score):
    checkpoints, _ = open_them()
    for step in range(1, 5):
        checkpoints.save(step, states[step], {}, VALUES, score)
    checkpoints.wait()
    undisturbed = checkpoints.best(states[0])[0]
    checkpoints.close()
    assert open_them()[0].best(states[0])[0] == undisturbed


@pytest.mark.parametrize("part", ["", "state", "progress", "metrics"])
def test_a_truncated_checkpoint_is_moved_aside(states, open_them, tmp_path, part):
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.1, 0.2, 0.3])
    truncate(tmp_path / "checkpoints/3" / part)
    checkpoints, warnings = open_them()
    step, state, progress = checkpoints.latest(states[0])
    assert step == 2 and progress["position"] == {"next_index": 2}
    assert_same(state, states[2])
    assert len(warnings) == 1 and "checkpoint 3 cannot be read, moved to 3.broken" in warnings[0]
    assert "\n" not in warnings[0] and (tmp_path / "checkpoints/3.broken").is_dir()
    # The run goes on, and meets the same step again.
    checkpoints.save(3, states[3], {"next_index": 3}, VALUES, 0.3)
    checkpoints.close()
    assert open_them()[0].latest(states[0])[0] == 3


def flip(file, byte=None):
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if byte is None else byte] ^= 4
    file.write_bytes(content)


def test_a_flipped_bit_in_any_file(states, open_them, tmp_path):
    """It is found, wherever it is, for readers of a run that continues and of one that is used."""
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.1, 0.2])
    newest = tmp_path / "checkpoints/2"
    files = [path for path in newest.rglob("*") if path.is_file()]
    # Orbax writes the time into these when the checkpoint is complete; nothing else is in them.
    late = [newest / name for name in ("_CHECKPOINT_METADATA", "commit_success.txt")]
    assert len(set(files) - set(late)) >= 8
    params = {"params": states[0].params}
    for file in set(files) - set(late):
        flip(file)
        warnings = []
        step, restored = restore_params(newest.parent, params["params"], False, warnings.append)
        assert (step, len(warnings)) == (1, 1), file
        assert_same(restored, states[1].params)
        with pytest.raises(ValueError, match="was written|are damaged"):
            check_checkpoint(newest)
        flip(file)
    step, _ = restore_params(newest.parent, params["params"], False, pytest.fail)
    assert step == 2
    flip(max(files, key=lambda file: file.stat().st_size), byte=-1)
    checkpoints, warnings = open_them()
    assert checkpoints.latest(states[0])[0] == 1
    assert len(warnings) == 1 and "is not as it was written" in warnings[0]


@pytest.mark.parametrize("edit", [('"next_index":2', '"next_index":1'), ("0.5", "0.6"), ("2", "3")])
def test_a_position_that_was_moved(states, open_them, tmp_path, edit):
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.1, 0.2])
    progress = tmp_path / "checkpoints/2/progress/metadata"
    text = progress.read_text().replace(" ", "")
    progress.write_text(text.replace(*edit))
    checkpoints, warnings = open_them()
    step, _, progress = checkpoints.latest(states[0])
    assert step == 1 and progress["position"] == {"next_index": 1} and len(warnings) == 1


@pytest.mark.parametrize("score", [0.9, 0.05, "0.3", True])
def test_another_score_makes_no_other_best_one(states, open_them, tmp_path, score):
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.3, 0.2, 0.1])
    warnings = []
    for damaged, best in ((3, 1), (1, 2)):
        shutil.copytree(tmp_path / "checkpoints", tmp_path / "copy")
        file = tmp_path / f"copy/{damaged}/metrics/metrics"
        file.write_text(json.dumps({"score": score}))
        step, _ = restore_params(tmp_path / "copy", states[0].params, False, warnings.append)
        assert step == best
        checkpoints = Checkpoints(tmp_path / "copy", warnings.append)
        chosen = checkpoints.best(states[0])
        assert chosen is not None and chosen[0] == best
        checkpoints.close()
        assert len(warnings) == 2
        warnings.clear()
        shutil.rmtree(tmp_path / "copy")


@pytest.mark.parametrize(
    "edit",
    [
        {"metrics": 3},
        {"item_handlers": {"state": 3}},
        {"init_timestamp_nsecs": "x"},
        {"commit_timestamp_nsecs": 10**30},
        {"commit_timestamp_nsecs": -1},
        [],
        None,
    ],
)
def test_what_orbax_notes_is_done_without(states, open_them, tmp_path, edit):
    """Nothing depends on it; Orbax would not open the directory."""
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.1, 0.2])
    path = tmp_path / "checkpoints/2/_CHECKPOINT_METADATA"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **edit} if isinstance(edit, dict) else edit))
    checkpoints, warnings = open_them()
    step, state, _ = checkpoints.latest(states[0])
    assert step == 2
    assert_same(state, states[2])
    assert warnings == ["checkpoint 2: _CHECKPOINT_METADATA is damaged, and done without"]
    checkpoints.save(3, states[3], {}, VALUES, 0.3)
    checkpoints.close()
    assert steps_in(tmp_path) == [2, 3]


def test_a_checkpoint_of_an_older_version(states, open_them, tmp_path):
    """It is read, and told."""
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.1, 0.2])
    (tmp_path / "checkpoints/2/digests.json").unlink()
    checkpoints, warnings = open_them()
    step, state, _ = checkpoints.latest(states[0])
    assert step == 2
    assert_same(state, states[2])
    line = "checkpoint 2 has no digests.json, as of an older version: it is read without a check"
    assert warnings == [line]


def test_digests_that_cannot_be_written(states, open_them, tmp_path, monkeypatch):
    """There is no checkpoint without them."""
    checkpoints, _ = open_them()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mtljax.training.persistence.checkpoints.digest_checkpoint", full)
    checkpoints.save(1, states[1], {}, VALUES, 0.1)
    with pytest.raises(UserError, match="cannot be written .*No space left on device"):
        checkpoints.wait()
    assert checkpoint_steps(tmp_path / "checkpoints") == []


def test_a_run_that_continues_has_a_better_one_meanwhile(states, open_them, tmp_path, monkeypatch):
    """The checkpoint that is read was removed: it is not a damaged one."""
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.3, 0.2])
    directory = tmp_path / "checkpoints"

    def removed(checkpoint):
        monkeypatch.undo()
        shutil.rmtree(checkpoint)
        return check_checkpoint(checkpoint)

    monkeypatch.setattr("mtljax.training.restore.check_checkpoint", removed)
    assert restore_params(directory, states[0].params, False, pytest.fail)[0] == 2


def test_a_checkpoint_without_its_arrays(states, open_them, tmp_path):
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.1, 0.2])
    shutil.rmtree(tmp_path / "checkpoints/2/state/d")
    checkpoints, warnings = open_them()
    assert checkpoints.latest(states[0])[0] == 1 and len(warnings) == 1


def test_the_next_best_stands_in_for_a_damaged_best(states, open_them, tmp_path):
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.9, 0.1, 0.8, 0.3])
    truncate(tmp_path / "checkpoints/1/state")
    checkpoints, warnings = open_them()
    assert checkpoints.best(states[0])[0] == 3 and len(warnings) == 1


@pytest.mark.parametrize("which", ["latest", "best"])
def test_when_none_can_be_read(states, open_them, tmp_path, which):
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.1, 0.2])
    for step in (1, 2):
        truncate(tmp_path / f"checkpoints/{step}/state")
    checkpoints, warnings = open_them()
    with pytest.raises(UserError, match="no checkpoint can be read"):
        getattr(checkpoints, which)(states[0])
    assert len(warnings) == 2


def test_what_an_interrupted_save_leaves_is_ignored(states, open_them, tmp_path):
    checkpoints, _ = open_them()
    save_all(checkpoints, states, [0.1])
    partial = tmp_path / "checkpoints/2.orbax-checkpoint-tmp-0"
    shutil.copytree(tmp_path / "checkpoints/1", partial)
    checkpoints, warnings = open_them()
    assert checkpoints.latest(states[0])[0] == 1 and not warnings


def test_steps_of_a_directory(tmp_path):
    for name in ("20", "3", "3.broken", "4.orbax-checkpoint-tmp-0"):
        (tmp_path / name).mkdir()
    assert checkpoint_steps(tmp_path) == [3, 20]
    assert checkpoint_steps(tmp_path / "none") == []
    with pytest.raises(UserError, match="File name too long"):
        checkpoint_steps(tmp_path / ("x" * 300))
