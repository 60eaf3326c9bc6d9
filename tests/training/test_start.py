"""Whether a directory holds the run that is asked for; nothing here is compiled."""

import contextlib
import dataclasses
import shutil

import pytest

from mtljax.errors import UserError
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.run_lock import locked
from mtljax.training.start import begin, check_continued, look


@pytest.fixture
def started(make, plain, tasks, tmp_path):
    """Starts a run, or continues it, without a step; with what a user is told."""
    chosen = (tasks["label"],)

    def start(config=plain, data=None, lock=None):
        said = []
        with contextlib.ExitStack() as held:
            state = look(config, chosen, tmp_path / "run", (), lock or held, said.append)
            data = data or make(config, chosen)[1]
            done = check_continued(config, state, data)
            if done is None:
                begin(config, chosen, state, data, lock or held, said.append)
            return done, said

    return start


@pytest.fixture
def complete(started, plain, tmp_path):
    """The directory of a run that says that it is complete."""
    assert started() == (None, [])
    run_directory.write_summary(tmp_path / "run", {"steps": plain.steps})
    return tmp_path / "run"


def contents(directory):
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.is_file()}


def test_a_complete_run_is_left_as_it_is(complete, started, plain):
    before = contents(complete)
    assert started() == ({"steps": plain.steps}, [])
    assert contents(complete) == before


def test_other_data_is_refused(complete, started, make, plain, tasks, source, monkeypatch):
    shorter = {**source.splits, "train": source.splits["train"][:-1]}
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_sources.load_source",
        lambda name, data_dir, **_: dataclasses.replace(source, splits=shorter),
    )
    before = contents(complete)
    with pytest.raises(UserError, match="its data has changed, tiny train had 60"):
        started()
    assert contents(complete) == before


def test_other_settings_are_refused(complete, started, plain):
    before = contents(complete)
    with pytest.raises(UserError, match="differs in seed"):
        started(dataclasses.replace(plain, seed=7, steps=20))
    with pytest.raises(UserError, match=r"differs in steps \(12 there, 11 asked for\)"):
        started(dataclasses.replace(plain, steps=11))
    with pytest.raises(UserError, match="holds a run of 12 steps, more than the 1 asked for"):
        started(dataclasses.replace(plain, epochs=0.1))
    assert contents(complete) == before


@pytest.mark.parametrize("finished", [True, False])
def test_more_steps_continue(complete, started, plain, finished):
    if not finished:
        (complete / "summary.json").unlink()
    longer = dataclasses.replace(plain, steps=20)
    text = "a run of 12 steps continues to 20, the learning rate from here on as in one of 20"
    assert started(longer) == (None, [text])
    assert not (complete / "summary.json").exists()
    assert (complete / "summary-12.json").exists() == finished
    assert run_directory.read_config(complete) == longer
    # As with any other run from here on: it was cut off, or it is complete.
    assert started(longer) == (None, [])
    with pytest.raises(UserError, match="differs in steps"):
        started()
    run_directory.write_summary(complete, {"steps": 20})
    assert started(longer)[0] == {"steps": 20}


def test_epochs_are_counted_as_steps(complete, started, plain):
    """As many as there were are no change; more continue."""
    constant = dataclasses.replace(plain.optimizer, schedule="constant")
    config = dataclasses.replace(plain, optimizer=constant)
    shutil.rmtree(complete)
    assert started(config) == (None, [])
    run_directory.write_summary(complete, {"steps": 12})
    # 60 texts are fewer than 50 rows of 12 pieces; a step reads 8 rows.
    done, said = started(dataclasses.replace(config, epochs=40.0))
    (line,) = said
    assert done is None and line.startswith("a run of 12 steps continues to ")
    assert "," not in line


def test_only_devices_may_differ(complete, started, plain):
    other = dataclasses.replace(plain, parallel=dataclasses.replace(plain.parallel, data=2))
    assert started(other)[0] == {"steps": 12}
    longer = dataclasses.replace(other, steps=13)
    assert started(longer)[0] is None
    # What was begun elsewhere is written as it was.
    assert run_directory.read_config(complete) == dataclasses.replace(plain, steps=13)


def test_a_second_start(complete, started):
    before = contents(complete)
    with locked(complete, pytest.fail):
        before[".lock"] = (complete / ".lock").read_bytes()
        with pytest.raises(UserError, match="is writing there; wait for its end"):
            started()
        assert contents(complete) == before
    assert started()[0] is not None


def test_two_that_start_at_once(started, make, plain, tasks, tmp_path):
    """Both find an empty directory; the one that is slower to read its data is told."""
    state = look(plain, (tasks["label"],), tmp_path / "run", (), contextlib.ExitStack(), print)
    with contextlib.ExitStack() as lock:
        assert started(lock=lock) == (None, [])
        before = contents(tmp_path / "run")
        for message in ("is writing there", "has begun a run there meanwhile"):
            with pytest.raises(UserError, match=message), contextlib.ExitStack() as other:
                data = make(plain, (tasks["label"],))[1]
                begin(plain, (tasks["label"],), state, data, other, print)
            lock.close()
        before[".lock"] = (tmp_path / "run/.lock").read_bytes()
        assert contents(tmp_path / "run") == before


def test_another_tokenizer_file_is_refused(make, plain, tasks, tmp_path):
    import tokenizers

    from mtljax.data import TokenizerSettings

    def write(letters):
        model = tokenizers.Tokenizer(
            tokenizers.models.BPE({c: i for i, c in enumerate(letters)}, [], unk_token="w")
        )
        model.save(str(tmp_path / "letters.json"))

    write("w0123456789 ")
    settings = TokenizerSettings(kind="file", file=str(tmp_path / "letters.json"))
    config, chosen = dataclasses.replace(plain, tokenizer=settings), (tasks["label"],)
    data = make(config, chosen)[1]
    state = look(config, chosen, tmp_path / "run", (), contextlib.ExitStack(), print)
    begin(config, chosen, state, data, contextlib.ExitStack(), print)
    state = look(config, chosen, tmp_path / "run", (), contextlib.ExitStack(), print)
    assert check_continued(config, state, data) is None
    write("w9876543210 ")
    with pytest.raises(UserError, match="letters.json is another than when the run was begun"):
        check_continued(config, state, data)
    (tmp_path / "letters.json").unlink()
    assert check_continued(config, state, data) is None
