"""A process with eight CPU devices, which runs the code that tests send to it.

To start one for each test, and to compile anew what all of them compile, takes long.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

SERVE = """
import contextlib, gc, io, json, os, sys, traceback

gc.set_threshold(50_000, 20, 100)
# What libraries print to the standard output is no answer.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    printed, problem = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(json.loads(line), "<on eight devices>", "exec"), {"__name__": "__main__"})
    except BaseException:
        problem = traceback.format_exc()
    print(json.dumps([printed.getvalue(), problem]), file=answers, flush=True)
"""


@contextlib.contextmanager
def eight_devices(
    root: Path, warnings: Sequence[str], timeout: float = 300
) -> Iterator[Callable[[str], str]]:
    """Gives a function that runs Python code in the process and returns what it prints.

    Each piece of code has names of its own; what it changes in modules stays. The process starts
    with the first one, and again after one that it has died of.
    """
    process: subprocess.Popen[str] | None = None
    with tempfile.TemporaryFile("w+") as stderr:

        def end() -> None:
            if process is not None:
                process.kill()
                process.communicate()

        def run(code: str) -> str:
            nonlocal process
            if process is None or process.poll() is not None:
                process = subprocess.Popen(
                    [sys.executable, *(f"-W{one}" for one in warnings), "-c", SERVE],
                    cwd=root,
                    env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "8"},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                )
            assert process.stdin is not None and process.stdout is not None
            print(json.dumps(code), file=process.stdin, flush=True)
            answers, *_ = select.select([process.stdout], [], [], timeout)
            answer = process.stdout.readline() if answers else ""
            if not answer:
                end()
                stderr.seek(0)
                raise AssertionError(f"no answer from eight devices: {stderr.read()[-4000:]}")
            printed, problem = json.loads(answer)
            assert not problem, problem
            return printed

        try:
            yield run
        finally:
            end()
