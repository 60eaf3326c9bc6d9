import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

ROOT = Path(__file__).resolve().parents[2]
STEPS, EVERY = 12, 4

TASKS = """\
sources:
  words:
    splits: {train: train.jsonl, validation: validation.jsonl, test: validation.jsonl}
    features:
      label: {kind: label, classes: [bad, good]}
      tags: {kind: tags, classes: [O, B-x, I-x]}
tasks:
  mood: {dataset: words, kind: classification, inputs: text, targets: label}
  names: {dataset: words, kind: tagging, inputs: tokens, targets: tags}
"""

OPTIONS = f"""\
train --preset small --steps {STEPS} --evaluate-every {EVERY} --log-every 2 --weighting mgda
--batch.tokens 192 --batch.row-length 12 --batch.multiple 4 --batch.ahead 1
--tokenizer.affix-buckets 16 --tokenizer.min-count 1 --heads.tag-hidden 0
--encoder.kind linear --encoder.embedding 6 --encoder.features 6 --encoder.ngram-buckets 16
--optimizer.warmup-steps 2 --optimizer.learning-rate 1e-4 --parallel.data 0 --cache-dir off
""".split()


class Ended(NamedTuple):
    """What processes left: exit codes, and what each has written."""

    codes: list[int]
    out: list[str]
    err: list[str]

    def said(self) -> list[str]:
        """The lines of `mtljax` itself on stderr, of all processes."""
        lines = [line for text in self.err for line in text.splitlines()]
        return [line for line in lines if line.startswith("mtljax ")]


@pytest.fixture(scope="session")
def tasks_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(20)]
    for split, count in (("train", 60), ("validation", 20)):
        rows = []
        for _ in range(count):
            tokens = rng.choice(words, rng.integers(2, 9)).tolist()
            good = sum(int(word[1:]) for word in tokens) > 9 * len(tokens)
            tags = ["B-x" if int(word[1:]) % 3 == 0 else "O" for word in tokens]
            row = {"text": " ".join(tokens), "label": "good" if good else "bad"}
            rows.append({**row, "tokens": tokens, "tags": tags})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (directory / f"{split}.jsonl").write_text(text)
    (directory / "tasks.yaml").write_text(TASKS)
    return directory / "tasks.yaml"


@pytest.fixture(scope="session")
def start(
    tasks_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Ended]]:
    """Runs `mtljax train` as several processes, with faults; see `processes.py`."""
    compiled = tmp_path_factory.mktemp("compiled")
    environment = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("processes.py"))],
        cwd=ROOT,
        env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(
        directory: Path,
        processes: int = 4,
        *more: str,
        devices: int = 1,
        faults: tuple[dict[str, Any], ...] = (),
        own: dict[int, list[str]] | None = None,
        apart: list[float] | None = None,
        timeout: float = 120,
    ) -> Ended:
        assert server.stdin is not None and server.stdout is not None
        output = tmp_path_factory.mktemp("output")
        arguments = [*OPTIONS, "--tasks", str(tasks_file), "--run-dir", str(directory), *more]
        request = {
            "arguments": arguments,
            "own": {str(index): options for index, options in (own or {}).items()},
            "processes": processes,
            "devices": devices,
            "faults": faults,
            "apart": apart,
            "output": str(output),
            "timeout": timeout,
        }
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        codes = json.loads(server.stdout.readline())
        texts = {
            name: [(output / f"{name}{index}.txt").read_text() for index in range(processes)]
            for name in ("out", "err")
        }
        return Ended(codes, **texts)

    yield run
    assert server.stdin is not None and server.stdout is not None
    server.stdin.close()
    server.wait(timeout=20)
    server.stdout.close()


@pytest.fixture(scope="session")
def undisturbed(start: Callable[..., Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of four processes to which nothing happens; not to be changed."""
    directory = tmp_path_factory.mktemp("undisturbed") / "run"
    ended = start(directory)
    assert ended.codes == [0] * 4, ended.err
    return directory


@pytest.fixture
def copied(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the undisturbed run before its last words."""
    shutil.copytree(undisturbed, tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    return tmp_path / "run"


def final(directory: Path) -> dict[str, np.ndarray]:
    """The last state of a run, by path."""
    place = directory / "checkpoints" / str(STEPS) / "state"
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(place).item_metadata.tree
        wanted = jax.tree.map(lambda leaf: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        args = ocp.args.PyTreeRestore(restore_args=wanted)
        found = reader.restore(place, args=args)
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(found)
    }


def assert_same(directory: Path, undisturbed: Path, tolerance: float = 0.0) -> None:
    """Check that a run has ended as another one, to the last bit or to a tolerance."""
    found, expected = final(directory), final(undisturbed)
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        if tolerance:
            np.testing.assert_allclose(
                found[name], leaf, rtol=tolerance, atol=tolerance, err_msg=name
            )
        else:
            assert found[name].tobytes() == leaf.tobytes(), name


def steps(directory: Path) -> list[str]:
    """Names of the checkpoints."""
    return sorted(path.name for path in (directory / "checkpoints").iterdir())
