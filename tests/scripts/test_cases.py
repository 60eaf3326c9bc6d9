"""`--cases`: of each parametrized test the first and the last are run, in every process alike."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("number", range(5))
def test_five_cases(number):
    """Five cases, which the test below counts."""
    assert number in range(5)


def chosen(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--co", "-p", "no:cacheprovider", *arguments]
    options = {"cwd": ROOT, "stdout": subprocess.PIPE, "text": True, "check": True}
    out = subprocess.run([*command, __file__], **options).stdout
    return [line.partition("::test_five_cases")[2] for line in out.splitlines() if "five" in line]


def test_the_first_and_the_last_are_run():
    assert chosen("--cases", "2") == ["[0]", "[4]"]
