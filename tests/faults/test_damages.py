"""Any damage to any file of a run: the right answer, that of another checkpoint and a line, or one
line that says what is wrong. `MTLJAX_DAMAGES` is how many are tried.
"""

import contextlib
import io
import json
import os
import random
import shutil
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest

from mtljax.cli import main
from tests.faults.conftest import OPTIONS, final
from tests.faults.damages import WITHOUT_EFFECT, damage
from tests.run_metrics import without_times

COUNT = int(os.environ.get("MTLJAX_DAMAGES", "10"))
SEED = int(os.environ.get("MTLJAX_DAMAGES_SEED", "0"))
TEXTS = ["w1 w2 w3", "w9 w19 w18 w17"]


class Said(NamedTuple):
    code: int
    out: str
    err: str


def command(*arguments: object) -> Said:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except BaseException:
            code = 99
            traceback.print_exc()
    return Said(code, out.getvalue(), err.getvalue())


def predict(run: Path) -> Said:
    return command("predict", run, "--json", *TEXTS)


def evaluate(run: Path) -> Said:
    return command("evaluate", run, "--json", "--split", "validation", "--cache-dir", "off")


@pytest.fixture(scope="module")
def train(tasks_file):
    def run(directory: Path) -> Said:
        return command(*OPTIONS, "--tasks", tasks_file, "--run-dir", directory)

    return run


@pytest.fixture(scope="module")
def pristine(train, tmp_path_factory):
    """A run, and what each of its checkpoints answers."""
    run = tmp_path_factory.mktemp("pristine") / "run"
    said = train(run)
    assert said.code == 0, said.err
    answers = {}
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    for name in names:
        alone = tmp_path_factory.mktemp("alone") / "run"
        shutil.copytree(run, alone)
        for other in set(names) - {name}:
            shutil.rmtree(alone / "checkpoints" / other)
        answers[name] = [do(alone).out for do in (predict, evaluate)]
    assert len({tuple(both) for both in answers.values()}) == len(names)  # they can be told apart
    return run, answers


def wrong_reading(said: Said, number: int, run: Path, answers: dict) -> str:
    if said.code == 2:
        return "" if said.err.count("\n") == 1 and not said.out else "not one line"
    if said.code:
        return f"exit code {said.code}"
    best = str(json.loads((run / "summary.json").read_text())["best_step"])
    for name, both in answers.items():
        if both[number] == said.out:
            told = said.err.count("\n")
            return "" if told <= 1 and (name == best or told) else f"step {name}, {told} lines"
    return "another answer"


def wrong_ending(said: Said, changed: Path, run: Path, name: str) -> str:
    if said.code == 2:
        return "" if said.err.count("\n") == 1 else "not one line"
    if said.code:
        return f"exit code {said.code}"
    mine, expected = final(changed), final(run)
    if any(mine[path].tobytes() != leaf.tobytes() for path, leaf in expected.items()):
        return "other parameters"
    one, other = (json.loads((place / "summary.json").read_text()) for place in (changed, run))
    if one["tasks"] != other["tasks"] or one["best_step"] != other["best_step"]:
        if ".broken" not in said.out:  # the best one may be among those that are lost
            return "another summary"
    lines, all_lines = without_times(changed), without_times(run)
    if any(line not in all_lines for line in lines):
        return "other metrics"
    missing = len(all_lines) - len(lines)
    if missing and (not name.startswith((".metrics", "metrics")) or "left out: " not in said.out):
        last = name == "metrics.jsonl" and missing == 1  # it is taken for one that is torn
        return "" if last else f"{missing} lost lines of metrics"
    return ""


def test_any_damage(pristine, train, tmp_path, capsys):
    run, answers = pristine
    rng, wrong, codes = random.Random(SEED), [], dict.fromkeys(("predict", "evaluate", "resume"), 0)
    for number in range(COUNT):
        damaged = tmp_path / f"{number}"
        shutil.copytree(run, damaged)
        name, what = damage(damaged, rng)
        label = f"damage {number} (seed {SEED}): {what} of {name}"
        for which, do in enumerate((predict, evaluate)):
            said = do(damaged)
            problem = wrong_reading(said, which, run, answers)
            if name in WITHOUT_EFFECT and (said.code or said.err):
                problem = "an effect"
            codes[do.__name__] += said.code == 2
            if problem:
                wrong.append(f"{label}: {do.__name__}: {problem}: {said.err[-600:]}")
        if name != "summary.json":
            (damaged / "summary.json").unlink()
        said = train(damaged)
        codes["resume"] += said.code == 2
        if problem := wrong_ending(said, damaged, run, name):
            wrong.append(f"{label}: resume: {problem}: {said.err[-600:]}")
        shutil.rmtree(damaged)
    with capsys.disabled():
        print(f"\n{COUNT} damages; refused: {codes}; wrong: {len(wrong)}")
    assert not wrong, "\n\n".join(wrong)
