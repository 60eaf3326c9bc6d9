"""Each fault ends in the parameters of the undisturbed run, or in an error that says what to do."""

import os
import random
import shutil
import subprocess

import pytest

from tests.faults.conftest import EVERY, STEPS, assert_same, steps
from tests.run_metrics import without_times


def assert_finishes(start, directory, undisturbed, processes=4, devices=1, tolerance=0.0):
    ended = start(directory, processes, devices=devices)
    assert ended.codes == [0] * processes, ended.err
    assert_same(directory, undisturbed, tolerance)
    return ended


def test_nothing_happens(undisturbed):
    files = {path.name for path in undisturbed.iterdir()}
    assert files == {"config.yaml", "tasks.yaml", "tokenizer.json", "layout.json", "metrics.jsonl",
                     "summary.json", "checkpoints", "digests.json", ".metrics.crc",
                     ".lock", ".times.jsonl"}  # fmt: skip
    assert steps(undisturbed)[0] == str(STEPS)


def test_several_processes_start_from_another_run(start, undisturbed, tmp_path):
    """Each reads what one process with as many devices reads."""
    more = ("--encoder.from-run", str(undisturbed), "--heads.from-run")
    ended = start(tmp_path / "run", 2, *more)
    assert ended.codes == [0, 0], ended.err
    assert "tokenizer, encoder" in ended.out[0] and "heads of mood, names" in ended.out[0]
    alone = start(tmp_path / "alone", 1, *more, devices=2)
    assert alone.codes == [0], alone.err
    assert_same(tmp_path / "run", tmp_path / "alone", 0.0)
    refused = start(tmp_path / "other", 2, "--encoder.from-run", str(tmp_path / "nowhere"))
    assert refused.codes == [2, 2] and all("no run there" in text for text in refused.err)


def test_a_process_is_killed(start, undisturbed, tmp_path):
    """Any, at any step: what was saved before is resumed."""
    step, victim = random.Random().randint(2, STEPS), random.Random().randint(0, 3)
    fault = {"process": victim, "step": step, "do": "kill"}
    ended = start(tmp_path / "run", faults=(fault,))
    assert ended.codes[victim] == -9
    assert all(code not in (0, 99) for code in ended.codes), (step, ended.codes)
    if victim:  # without the first one JAX itself may end the others
        assert len(ended.said()) == 3, (step, ended.codes, ended.err)
        assert all("another process is gone" in line for line in ended.said())
        assert all("the same command continues from " in line for line in ended.said())
    assert not (tmp_path / "run" / "summary.json").exists()
    assert_finishes(start, tmp_path / "run", undisturbed)
    assert without_times(tmp_path / "run") == without_times(undisturbed)


@pytest.mark.parametrize(("signal", "code"), [("terminate", 143), ("interrupt", 130)])
def test_a_process_is_told_to_stop(start, undisturbed, tmp_path, signal, code):
    """By a signal to one of four: all save the same step and leave; two resume it, and four."""
    pause = {"process": "all", "do": "pause", "seconds": 0.4}
    told = random.Random().randint(0, 3)
    ended = start(tmp_path / "run", faults=({"process": told, "step": 2, "do": signal}, pause))
    assert ended.codes == [code if i == told else 143 for i in range(4)], ended.err
    saved = max(map(int, steps(tmp_path / "run")))
    assert 2 <= saved < STEPS
    (line,) = (line for line in ended.said() if "stops when the step is saved" not in line)
    assert line.endswith(f"; step {saved} is saved, the same command continues from there")
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    assert_finishes(start, tmp_path / "run", undisturbed)
    assert_finishes(start, tmp_path / "other", undisturbed, processes=2, tolerance=1e-5)


def largest_shard(directory):
    place = directory / "checkpoints" / str(STEPS) / "state"
    return max(place.rglob("d/*"), key=lambda path: path.stat().st_size)


def tear(directory):
    file = largest_shard(directory)
    os.truncate(file, file.stat().st_size // 2)


def remove(directory):
    largest_shard(directory).unlink()


@pytest.mark.parametrize(("damage", "processes", "tolerance"), [(tear, 4, 0), (remove, 2, 1e-5)])
def test_a_damaged_checkpoint(start, undisturbed, copied, damage, processes, tolerance):
    """It is moved aside, and the one before it is taken."""
    damage(copied)
    ended = assert_finishes(start, copied, undisturbed, processes, tolerance=tolerance)
    assert f"checkpoint {STEPS} cannot be read, moved to {STEPS}.broken" in ended.out[0]
    assert f"continuing from step {STEPS - EVERY}" in ended.out[0]
    assert f"{STEPS}.broken" in steps(copied)


@pytest.fixture
def small_disk(tmp_path):
    """A directory on a small file system of its own; skips where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small file system to fill may not be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(start, undisturbed, tmp_path, small_disk):
    directory, filler = small_disk / "run", small_disk / "filler"
    fault = {"process": 0, "step": 6, "do": "fill", "file": str(filler)}
    ended = start(directory, 2, faults=(fault,))
    assert 2 in ended.codes and not {0, 99} & set(ended.codes), (ended.codes, ended.err)
    wrong = [line for line in ended.said() if "No space left on device" in line]
    assert wrong and all(str(directory) in line for line in wrong), ended.err
    filler.unlink()
    assert_finishes(start, directory, undisturbed, 2, tolerance=1e-5)


def test_processes_that_were_started_differently(start, undisturbed, tmp_path):
    ended = start(tmp_path / "run", 2, own={1: ["--seed", "3", "--log-every", "4"]})
    assert ended.codes == [2, 2]
    assert ended.said() == [
        "mtljax train: process 1 was started with another seed, log_every than process 0; start "
        "all with the same command, on the same data"
    ]
    assert not (tmp_path / "run").exists()


def test_rows_that_do_not_divide(start, tmp_path):
    ended = start(tmp_path / "run", 3)
    assert ended.codes == [2, 2, 2]
    (line,) = ended.said()
    assert line.endswith(
        "rows, which cannot be divided among 3 devices; --batch.multiple 3 makes all divide"
    )
