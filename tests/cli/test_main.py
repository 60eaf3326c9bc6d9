import subprocess
import sys

import pytest

from mtljax import __version__
from mtljax.cli import main
from mtljax.cli.main import COMMANDS
from mtljax.errors import UserError

HEAVY = {"jax", "flax", "optax", "grain", "orbax", "tensorflow_datasets", "tokenizers", "rich"}


def test_help_lists_the_commands(mtljax):
    for flag in ("--help", "-h"):
        code, out, err = mtljax(flag)
        assert (code, err) == (0, "")
        for name, what in COMMANDS.items():
            assert name in out
            assert what in out


def test_help_is_cheap():
    code = "from mtljax.cli import main; main(['--help']); import sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = {name.split(".")[0] for name in result.stdout.splitlines()[-1].split()}
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"completion"}))
def test_every_command_has_help_with_defaults(mtljax, name):
    assert f"usage: mtljax {name}" in mtljax(name, "--help").out
    code, out, err = mtljax(name, "--help-all")
    assert (code, err) == (0, "")
    assert f"usage: mtljax {name}" in out
    assert "default: " in out
    assert "--json" in out


def test_version(mtljax):
    assert mtljax("--version") == (0, f"mtljax {__version__}\n", "")


def test_no_command_and_an_unknown_one(mtljax):
    code, out, err = mtljax()
    assert (code, out) == (2, "")
    assert err.startswith("mtljax: name a command: train, ")
    code, out, err = mtljax("trian")
    assert (code, out) == (2, "")
    assert err == "mtljax: unknown command 'trian'; did you mean 'train'?\n"


@pytest.fixture
def predict_raises(monkeypatch):
    import mtljax.cli.predict as predict

    def make(error):
        def run(arguments):
            raise error

        monkeypatch.setattr(predict, "run", run)

    return make


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("two\nlines"), 2, "mtljax predict: two lines\n"),
        (UserError("bad \udcff byte"), 2, "mtljax predict: bad \\udcff byte\n"),
        (KeyboardInterrupt(), 130, "mtljax predict: interrupted\n"),
        (BrokenPipeError(), 1, ""),
        (SystemExit(0), 0, ""),
    ],
)
def test_exit_codes(mtljax, predict_raises, error, code, line):
    predict_raises(error)
    assert mtljax("predict") == (code, "", line)


def test_a_defect_shows_its_traceback(predict_raises):
    predict_raises(RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        main(["predict"])


def test_as_a_module(process):
    done = process("predict")
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (2, "")
    assert err.startswith("mtljax predict: missing argument: RUN")
    assert "RUN" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "out.txt"), "out.txt: No space left on device"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (ImportError("libx.so: cannot open shared object file: Too many open files"),) * 2,
        (MemoryError(), "not enough memory"),
        (MemoryError("Unable to allocate 8 TiB"), "not enough memory: Unable to allocate 8 TiB"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes."),
            "not enough memory on the device: Out of memory allocating 99 bytes.",
        ),
        (RuntimeError("can't start new thread"), "can't start new thread"),
    ],
)
def test_what_is_used_up_is_one_line(mtljax, predict_raises, error, line):
    predict_raises(error)
    line = "Too many open files" if isinstance(error, ImportError) else line
    assert mtljax("predict", "run") == (2, "", f"mtljax predict: {line}\n")


def test_a_full_disk_behind_the_output():
    code = "import sys; from mtljax.cli import main; sys.exit(main(['--help']))"
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (result.returncode, result.stderr) == (2, "mtljax: No space left on device\n")
