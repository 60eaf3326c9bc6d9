import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mtljax.cli.processes import ProcessOptions, joined, preempted_code, preempted_line
from mtljax.errors import Interrupted, Preempted
from mtljax.inference import load_run
from tests.run_metrics import without_times

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--parallel.processes", 2],
            "parallel.processes: needs a coordinator, HOST:PORT of process 0",
        ),
        (
            ["--parallel.coordinator", "here", "--parallel.processes", 2, "--parallel.process", 0],
            "parallel.coordinator 'here': expected HOST:PORT",
        ),
        (["--parallel.timeout", 0], "parallel.timeout: must be positive, got 0.0"),
    ],
)
def test_processes_that_cannot_be(refused, options, message):
    assert refused("train", *options) == message


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (0, "the other processes have not come to localhost:{port}"),
        (1, "no process 0 answers at localhost:{port}"),
    ],
)
def test_processes_that_do_not_come(process, message, unused_port):
    """Without the pages in which JAX says so."""
    command = [sys.executable, "-W", "error", "-m", "mtljax", "train", "--parallel.timeout", "0.5"]
    command += ["--parallel.coordinator", f"localhost:{unused_port}", "--parallel.processes", "2"]
    result = subprocess.run(
        [*command, "--parallel.process", str(process)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    message = message.format(port=unused_port)
    expected = f"mtljax train: parallel: {message} within 0.5 s (--parallel.timeout)\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def test_sigterm_is_noticed_once():
    before = signal.getsignal(signal.SIGTERM)
    with joined(ProcessOptions(processes=1), "train", Path()) as preempted:
        assert not preempted(0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert preempted(1)
        # A second one is not held back.
        assert signal.getsignal(signal.SIGTERM) == before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.fixture
def heeded():
    """Ctrl-C does what it does in a terminal, however the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_is_held_back_once(heeded, capfd):
    with pytest.raises(Interrupted, match="^step 3 is saved$") as error:
        with joined(ProcessOptions(processes=1), "train", Path()) as preempted:
            assert not preempted(2)
            interrupt()
            assert preempted(3)
            raise Preempted("step 3 is saved")
    assert preempted_code(error.value) == 130 and preempted_code(Preempted()) == 143
    assert preempted_line(error.value).startswith("interrupted; step 3 is saved, ")
    assert capfd.readouterr().err.startswith("mtljax train: interrupted: stops when the step is ")
    with (
        pytest.raises(KeyboardInterrupt),
        joined(ProcessOptions(processes=1), "train", Path()) as p,
    ):
        p(1)
        interrupt()
        interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_the_first_step_ends_at_once(heeded):
    with pytest.raises(KeyboardInterrupt), joined(ProcessOptions(processes=1), "train", Path()):
        interrupt()


def test_a_command_in_the_background_does_not_heed_ctrl_c(heeded):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with joined(ProcessOptions(processes=1), "train", Path()) as preempted:
        preempted(1)
        interrupt()
        assert not preempted(2)


@pytest.mark.exhaustive
def test_two_processes_do_what_one_does(mtljax, tasks_file, linear_options, tmp_path):
    """From the command line to the parameters; the first of them writes."""
    options = [*linear_options, "--steps", 4, "--evaluate-every", 2, "--batch.multiple", 2]
    options += ["--optimizer.learning-rate", 1e-4, "--tasks", tasks_file, "--run-dir"]
    launch = [sys.executable, str(ROOT / "scripts/launch/local"), "2"]
    train = [sys.executable, "-m", "mtljax", "train", *options, tmp_path / "two"]
    result = subprocess.run(
        [*launch, *map(str, [*train, "--parallel.data", "0", "--json"])],
        cwd=ROOT,
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    # What the libraries of JAX print is not among the results.
    assert result.stdout.startswith('{"steps": 4') and result.stdout.count("\n") == 1
    assert "task 1 x data 2 x model 1 devices" in result.stderr
    assert mtljax("train", *options, tmp_path / "one").code == 0
    for two, one in zip(*(without_times(tmp_path / name) for name in ("two", "one")), strict=True):
        assert one.pop("split") == two.pop("split")
        assert two == pytest.approx(one, rel=1e-4, abs=1e-6)
    texts = ["What a good phone.", "It broke on the first day."]
    said = [load_run(tmp_path / name).predict(texts) for name in ("one", "two")]
    for one, two in zip(*said, strict=True):
        assert one["a"]["probabilities"] == pytest.approx(two["a"]["probabilities"], abs=1e-5)
