"""scripts/setup with interpreters that only pretend: no network, no real environment."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = "bash cat cksum dirname env flock grep ls mkdir mv printf readlink rm sleep sort tail tr"

# Answers what find_python asks, and as `-m venv DIR` puts itself into DIR/bin. Installing writes
# the arguments to pip.log, after as long as PIP_SECONDS says, and with the status PIP_STATUS.
PYTHON = """#!/bin/sh
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip "*)
        sleep "${PIP_SECONDS:-0}"
        [ "${PIP_STATUS:-0}" = 0 ] || echo "ERROR: No matching distribution found"
        echo "$@" >>pip.log
        exit "${PIP_STATUS:-0}"
        ;;
    *version_info*) echo VERSION ;;
    *sys.executable*) echo "$0" ;;
esac
"""


class Checkout:
    """A copy of the scripts with a PATH of its own."""

    def __init__(self, root: Path):
        self.root = root / "check out"  # a path with a space
        self.bin = root / "bin"
        self.bin.mkdir()
        for tool in TOOLS.split():
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        shutil.copy(ROOT / "pyproject.toml", self.root)

    def command(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def python(self, version: str) -> None:
        tools = f'PATH="{os.environ["PATH"]}"\n'
        self.command(
            f"python{version}", PYTHON.replace("VERSION", version, 1).replace("\n", f"\n{tools}", 1)
        )

    def start(self, *arguments: str, script: str = "setup", **variables: str) -> subprocess.Popen:
        environment = {"PATH": str(self.bin), "HOME": str(self.root), **variables}
        return subprocess.Popen(
            [self.root / "scripts" / script, *arguments],
            env=environment,
            cwd=self.bin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def setup(self, *arguments: str, **variables: str) -> tuple[int, str]:
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=60)
        assert out == ""
        return process.returncode, err

    @property
    def stamp(self) -> dict[str, str]:
        lines = (self.root / ".venv/mtljax-setup").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def installs(self) -> list[str]:
        log = self.root / "pip.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_takes_the_newest_python_that_runs(checkout: Checkout):
    checkout.python("3.11")
    checkout.python("3.12")
    checkout.command(
        "python3.13", "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n"
    )
    assert checkout.setup() == (
        0,
        "scripts/setup: making .venv with pip: Python 3.12, extras: none\n",
    )
    assert checkout.stamp["python"] == "3.12"
    assert len(checkout.installs) == 1
    assert "--constraint scripts/constraints.txt --editable .[train]" in checkout.installs[0]


def test_a_second_run_does_nothing(checkout: Checkout):
    checkout.python("3.13")
    assert checkout.setup("--extras", "dev")[0] == 0
    assert checkout.setup("--extras", "dev") == (0, "")
    assert checkout.setup("--python", "3.13") == (0, "")
    assert len(checkout.installs) == 1


def test_extras_add_up_and_survive_another_python(checkout: Checkout):
    checkout.python("3.13")
    checkout.python("3.11")
    checkout.setup("--extras", "plot")
    assert checkout.setup("--extras=dev,plot")[1].startswith("scripts/setup: updating")
    assert checkout.stamp["extras"] == "dev plot"
    assert checkout.setup("--python", "3.11")[1].startswith("scripts/setup: making")
    assert checkout.setup() == (0, ""), "keeps the Python it has"
    assert (checkout.stamp["python"], checkout.stamp["extras"]) == ("3.11", "dev plot")
    assert checkout.installs[-1].endswith(".[train,dev,plot]")


@pytest.mark.parametrize("name", ["pyproject.toml", "scripts/constraints.txt"])
def test_a_change_of_the_inputs_installs_again(checkout: Checkout, name: str):
    checkout.python("3.13")
    checkout.setup()
    with (checkout.root / name).open("a") as file:
        file.write("# changed\n")
    assert checkout.setup()[1].startswith("scripts/setup: updating")
    assert checkout.setup() == (0, "")


def test_a_failed_installation_is_one_line_and_made_anew(checkout: Checkout):
    checkout.python("3.13")
    status, err = checkout.setup("--extras", "dev", PIP_STATUS="1")
    assert status == 1
    assert err.splitlines()[1:] == [
        "scripts/setup: failed, see .venv/mtljax-setup.log: ERROR: No matching distribution found"
    ]
    assert checkout.setup()[1].startswith("scripts/setup: making")
    assert checkout.stamp["extras"] == "dev"


def test_a_failed_update_leaves_the_environment(checkout: Checkout):
    checkout.python("3.13")
    checkout.setup("--extras", "dev")
    before = checkout.stamp
    assert checkout.setup("--extras", "plot", PIP_STATUS="1")[0] == 1
    assert checkout.stamp == before
    assert checkout.setup("--extras", "plot")[1].startswith("scripts/setup: updating")
    assert checkout.stamp["extras"] == "dev plot"


def test_an_interrupted_installation_is_made_anew(checkout: Checkout):
    checkout.python("3.13")
    process = checkout.start("--extras", "dev", PIP_SECONDS="1")
    deadline = time.monotonic() + 30
    while not (checkout.root / ".venv/bin/python").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)
    assert checkout.stamp["state"] == "unfinished"
    status, err = checkout.setup()
    assert status == 0 and "making .venv" in err
    assert (checkout.stamp["state"], checkout.stamp["extras"]) == ("complete", "dev")


@pytest.mark.skipif(shutil.which("flock") is None, reason="without flock runs are not kept apart")
def test_simultaneous_runs_wait_for_each_other(checkout: Checkout):
    checkout.python("3.13")
    runs = [checkout.start("--extras", "dev", PIP_SECONDS="0.5") for _ in range(3)]
    errors = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], errors
    assert len(checkout.installs) == 1


def test_a_moved_checkout_is_made_anew(checkout: Checkout):
    checkout.python("3.13")
    checkout.setup()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    assert checkout.setup()[1].startswith("scripts/setup: making")


def test_leaves_the_environment_of_someone_else_alone(checkout: Checkout):
    checkout.python("3.13")
    kept = checkout.root / ".venv/pyvenv.cfg"
    kept.parent.mkdir()
    kept.touch()
    status, err = checkout.setup()
    assert status == 1 and err.count("\n") == 1 and "not made by this script" in err
    assert kept.exists()
    assert checkout.setup(MTLJAX_VENV=".venv-other")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 1, "no usable Python 3.11, 3.12 or 3.13 found"),
        (["--python", "3.11"], 1, "no usable Python 3.11 found"),
        (["--python", "3.9"], 2, "--python 3.9: must be one of 3.13, 3.12, 3.11"),
        (["--python"], 2, "--python needs a value"),
        (["--extras", "plot,everything"], 2, "--extras everything: must be among cuda"),
        (["--quick"], 2, "unknown argument '--quick'"),
    ],
)
def test_errors_are_one_line(checkout: Checkout, arguments: list[str], status: int, message: str):
    code, err = checkout.setup(*arguments)
    assert code == status
    assert message in err and err.count("\n") == 1
    assert not (checkout.root / ".venv").exists()


def test_uses_uv_where_it_is_installed(checkout: Checkout):
    checkout.python("3.12")
    checkout.command(
        "uv",
        f'#!/bin/sh\nPATH="{os.environ["PATH"]}"\n'
        'case "$1" in venv) shift 3; mkdir -p "$2/bin"; cp "$1" "$2/bin/python" ;; esac\n'
        'echo "$@" >>uv.log\n',
    )
    assert "with uv: Python 3.12" in checkout.setup()[1]
    assert not checkout.installs
    assert (
        "--constraint scripts/constraints.txt --editable ."
        in (checkout.root / "uv.log").read_text()
    )


def test_mtljax_works_through_a_link_and_keeps_the_directory(checkout: Checkout):
    checkout.python("3.13")
    checkout.setup("--extras", "plot")
    command = checkout.root / ".venv/bin/mtljax"
    command.write_text('#!/bin/sh\npwd -P\nprintf "%s|" "$@"\n')
    command.chmod(0o755)
    link = checkout.bin / "linked"
    link.symlink_to(os.path.relpath(checkout.root / "scripts/mtljax", checkout.bin))
    result = subprocess.run(
        [link, "predict", "a  b", ""],
        env={"PATH": str(checkout.bin), "HOME": str(checkout.root)},
        cwd=checkout.bin,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"{checkout.bin.resolve()}\npredict|a  b||"
