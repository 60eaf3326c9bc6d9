"""The command, with what it prints and its exit codes."""

import json
from collections.abc import Callable

import pytest

from mtljax.cli.plan import read_options

TASKS = """\
tasks:
  one: {dataset: no_such_one, kind: classification, inputs: text, targets: label}
  two: {dataset: no_such_two, kind: regression, inputs: text, targets: stars}
"""
OPTIONS = """\
--assume.classes 3 --encoder.kind linear --encoder.ngram-buckets 64 --encoder.ngrams 1
--heads.pooling mean --optimizer.average 0 --tokenizer.kind byte
--batch.tokens 256 --batch.row-length 16 --batch.multiple 8
""".split()


@pytest.fixture
def tasks(tmp_path):
    path = tmp_path / "tasks.yaml"
    path.write_text(TASKS)
    return str(path)


def test_rows_take_all_devices_unless_an_axis_says_otherwise():
    def data(*arguments):
        return read_options(arguments)[0].config.parallel.data

    assert data() == data("--parallel.task", "2") == 0
    assert data("--parallel.data", "4") == 4
    assert data("--parallel.task", "0") == data("--parallel.model=0") == 1


@pytest.mark.exhaustive
def test_plans_on_eight_devices(on_eight_devices: Callable[[str], str], tasks):
    arguments = ["plan", "--topology", "8", "--tasks", tasks, *OPTIONS]
    printed = on_eight_devices(f"""
import contextlib, io, os
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
from mtljax.cli import main

def call(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*{arguments!r}, *arguments])
    return code, out.getvalue(), err.getvalue()

code, out, err = call("--weighting", "equal,mgda", "--parallel.task", "2", "--json")
print(code)
print(out, end="")
code, out, err = call("--memory", "0.0001", "--parallel.sharding", "fsdp")
print(code, "does not fit: " in out, "equal: nothing that was tried makes it fit" in out)
for more in (
    ["--parallel.data", "3"],
    ["--parallel.task", "4"],
    ["--batch.multiple", "6"],
    ["--placements", "on"],
    ["--weighting", "mgda,mgdaa"],
):
    code, out, err = call(*more)
    print(code, err, end="")
""")
    code, plans, small, *errors = printed.splitlines()
    found = json.loads(plans)
    assert code == "0" and small == "1 True True"
    keys = """topology devices fits hbm_bytes_per_device hbm_limit argument_bytes temp_bytes
        flops_per_device collective_bytes collective_bytes_total roofline_seconds compile_seconds"""
    assert found.keys() >= set(keys.split())
    compared = [(one["weighting"], one["placement"]) for one in found["compared"]]
    assert compared == [("equal", "off"), ("mgda", "task")]
    assert errors == [
        "2 mtljax plan: parallel: a mesh of task 1 x data 3 x model 1 does not multiply to 8 "
        "devices",
        "2 mtljax plan: parallel: a task axis of 4 does not divide 2 tasks",
        "2 mtljax plan: parallel: the batch of input group 'no_such_one' has 12 rows, which cannot "
        "be divided among 8 devices; --batch.multiple 8 makes all divide",
        "2 mtljax plan: placements: 'on' is not one of auto, off, task",
        "2 mtljax plan: weighting 'mgdaa': unknown; did you mean 'mgda'?",
    ]


def test_bad_input(refused, tasks):
    assert "topology 'v5x:2x2': unknown; known are v4:AxBxC, v5e:AxB, " in refused(
        "plan", "--topology", "v5x:2x2"
    )
    assert "task 'one': unknown data set 'no_such_one'" in refused("plan", "--tasks", tasks)
    assert "assume: sizes must be positive" in refused("plan", "--assume.classes", "-1")
    assert "memory: must be positive, got -1" in refused("plan", "--memory", "-1")
