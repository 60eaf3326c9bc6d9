"""scripts/release refuses what is no release, before it builds anything."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import mtljax

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "CITATION.cff").exists(), reason="a source distribution is no checkout"
)


@pytest.fixture
def checkout(tmp_path):
    """What the script reads, in a repository of its own; setting up would fail, and be told."""
    for name in ("CITATION.cff", "CHANGELOG.md", "mtljax/__init__.py", "scripts/release"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "scripts/setup").write_text("#!/bin/sh\necho setting up >&2\nexit 7\n")
    (tmp_path / "scripts/setup").chmod(0o755)
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def git(where, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=where, check=True)


def commit(where):
    git(where, "add", "-A")
    git(where, "commit", "-qm", "x")


def release(checkout, *arguments):
    done = subprocess.run(
        [checkout / "scripts/release", *arguments], capture_output=True, text=True
    )
    return done.returncode, done.stderr


def test_what_is_no_release_is_refused(checkout):
    changes = checkout / "CHANGELOG.md"
    text = re.sub(r"^## \[\d.*$", "", changes.read_text(), flags=re.MULTILINE)
    changes.write_text(f"{text}\n")
    assert release(checkout) == (1, "scripts/release: the tree is not clean\n")
    commit(checkout)
    assert "no section" in release(checkout)[1]
    assert release(checkout, "--try") == (7, "setting up\n")
    changes.write_text(f"{text}\n## [{mtljax.__version__}] - 2030-01-31\n")
    commit(checkout)
    assert release(checkout) == (7, "setting up\n")
    (checkout / "CITATION.cff").write_text("version: 9.9.9\n")
    assert "another version" in release(checkout, "--try")[1]
    assert "unknown argument" in release(checkout, "--tri")[1]
