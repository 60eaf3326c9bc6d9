import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mtljax.cli import main
from tests.first_texts import splits, write_first

ROOT = Path(__file__).resolve().parents[2]

LINEAR = """\
--encoder.kind linear --encoder.ngram-buckets 64 --encoder.ngrams 1 --encoder.embedding 8
--encoder.features 8 --heads.pooling mean
--batch.tokens 512 --batch.row-length 32 --tokenizer.affix-buckets 64 --log-every 1
""".split()
"""Options of a model that compiles fast."""


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def mtljax(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs the command in this process."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def process() -> Callable[..., subprocess.Popen[str]]:
    """Starts the command in a process of its own."""

    # A shell that starts tests in the background has them ignore Ctrl-C, and their children too.
    heed = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.executable, sys.argv[1:])"
    )
    command = [sys.executable, "-c", heed, sys.executable, "-W", "error", "-m", "mtljax"]

    def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    return start


@pytest.fixture
def refused(mtljax: Callable[..., Result]) -> Callable[..., str]:
    """Runs a command that must be refused: code 2, one line on stderr, nothing on stdout."""

    def run(*arguments: object) -> str:
        code, out, err = mtljax(*arguments)
        assert code == 2
        assert out == ""
        assert err.count("\n") == 1
        start = f"mtljax {arguments[0]}: "
        assert err.startswith(start)
        return err.removeprefix(start).rstrip("\n")

    return run


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch, loaded_tiny_run: Any) -> None:
    """Commands on `tiny_run` share what they compile."""
    import mtljax.inference

    load_run = mtljax.inference.load_run

    def load(path: str, warn: Any = None) -> Any:
        if Path(path) == loaded_tiny_run.directory:
            return loaded_tiny_run
        return load_run(path, warn)

    monkeypatch.setattr(mtljax.inference, "load_run", load)


@pytest.fixture
def tasks_file(tmp_path: Path) -> Path:
    """A tasks file with one small task."""
    path = tmp_path / "one.yaml"
    write_first("amazon_sentiment", tmp_path / "reviews")
    fields = "dataset: reviews, kind: classification, inputs: text, targets: label"
    text = f"sources: {{reviews: {{{splits('reviews')}}}}}\ntasks: {{a: {{{fields}}}}}"
    path.write_text(text)
    return path


@pytest.fixture
def linear_options() -> list[str]:
    return list(LINEAR)
