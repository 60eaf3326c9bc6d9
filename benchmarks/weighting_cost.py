"""What does one update of each method cost, and how exact is it, beside TorchJD?

Times one jitted update of every method on one core, for T = 2 to 64 tasks, on the same matrices as
TorchJD, in turn with it. TorchJD runs in an environment of its own: name its Python.

    python -m venv /tmp/torchjd && /tmp/torchjd/bin/pip install 'torchjd[full]==0.18.0' numpy
    python benchmarks/weighting_cost.py --torchjd /tmp/torchjd/bin/python \
        --json benchmarks/results/weighting_cost.json

A call from Python, its result waited for, is what both libraries can be asked for, and of our
cheapest methods it is almost all dispatch. In a train step there is no such call: the second time
is that of an update inside a compiled program, one of a scan of many.

The direction error is that to the same method in float64, relative to the direction or the longest
gradient in it, whichever is smaller; the tests compare the float64 directions with independent
solutions. Where the scales of the two libraries differ (mean or sum, or a norm that is cut off) the
peer's direction is first multiplied by the number that fits best. Methods that draw at random have
no error.
"""

import argparse
import inspect
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from mtljax import aggregation, weighting
from mtljax.versions import versions

TASKS = (2, 4, 8, 16, 32, 64)
COORDINATES = 1000
ROUNDS = 5
UPDATES = 50  # of a scan
RANDOM = {"random", "pcgrad", "gradvac", "graddrop"}


def jacobian(num_tasks: int) -> np.ndarray:
    """Conflicting gradients ``[T, P]`` float32 whose norms differ by a factor of 100."""
    rng = np.random.default_rng(num_tasks)
    rows = rng.standard_normal((num_tasks, COORDINATES))
    rows = rows - 0.9 * rows.mean(0) + 0.02 * rng.standard_normal(COORDINATES)
    return (rows * np.logspace(-1, 1, num_tasks)[rng.permutation(num_tasks), None]).astype("f4")


def make(name: str, num_tasks: int) -> Any:
    """A method with its defaults, or None if it cannot have so many tasks."""
    try:
        if name not in weighting.METHODS:
            return aggregation.METHODS[name](num_tasks)
        factory = weighting.METHODS[name]
        needed = [
            p.name
            for p in inspect.signature(factory).parameters.values()
            if p.default is inspect.Parameter.empty
        ]
        method = factory(**{p: [1.0] * num_tasks for p in needed})
        method.init(num_tasks)
        return method
    except ValueError:
        return None


def prepare(method: Any, rows: np.ndarray) -> tuple[Any, Any, tuple[Any, ...]]:
    """The jitted update, its first state, and what it reads besides."""
    grads = jnp.asarray(rows)
    losses = jnp.linspace(0.5, 2.0, len(rows), dtype=grads.dtype)
    if not isinstance(method, weighting.Weighting):
        # What forum reads besides; the others ignore it.
        more = {"validation_grads": grads[::-1], "inner_losses": 0.9 * losses}
        update = jax.jit(
            lambda grads, losses, state: method.update(grads, state, losses=losses, **more)
        )
        return update, method.init(grads[0]), (grads, losses)
    gramian = grads @ grads.T
    known = {
        "gramian": gramian,
        "gramian_diagonal": jnp.diagonal(gramian),
        "losses_after": 0.9 * losses,
        "validation_losses": losses,
        "validation_gradients": gramian,
        "cross_gramian": gramian,
    }
    signals = {name: known[name] for name in method.requires - {"losses"}}
    update = jax.jit(lambda losses, signals, state: method.update(losses, state, **signals))
    return update, method.init(len(rows)), (losses, signals)


def measure(update: Any, state: Any, given: tuple[Any, ...], seconds: float) -> float:
    """Median microseconds of a call, its result waited for."""
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 5:
        began = time.perf_counter()
        _, state = jax.block_until_ready(update(*given, state))
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def inside(update: Any, state: Any, given: tuple[Any, ...], seconds: float) -> float:
    """Median microseconds of an update in a compiled program, all inputs unlike."""

    @jax.jit
    def scan(given, state):
        def body(state, scale):
            out, state = update(*jax.tree.map(lambda x: x * scale.astype(x.dtype), given), state)
            return state, out

        return jax.lax.scan(body, state, jnp.linspace(0.9, 1.1, UPDATES))[::-1]

    jax.block_until_ready(scan(given, state))
    return measure(scan, state, (given,), seconds) / UPDATES


def direction(method: Any, rows: np.ndarray) -> np.ndarray:
    """The direction of the first update, in float64 arithmetic of the combination."""
    update, state, given = prepare(method, rows)
    out, _ = update(*given, state)
    out = np.asarray(out, np.float64)
    return out @ rows.astype(np.float64) if isinstance(method, weighting.Weighting) else out


def error(found: np.ndarray, exact: np.ndarray, rows: np.ndarray, fit: bool) -> float:
    """Relative error of a direction."""
    if fit and found @ found > 0:
        found = found * (found @ exact) / (found @ found)
    scale = min(np.linalg.norm(exact), np.linalg.norm(rows, axis=1).max())
    return float(np.linalg.norm(found - exact) / scale) if scale else float("nan")


class Peer:
    """TorchJD in its own process."""

    def __init__(self, python: str | None) -> None:
        """Start it; without a Python there is none."""
        self._process = None
        if python:
            script = Path(__file__).parent / "peers" / "torchjd_weightings.py"
            self._process = subprocess.Popen(
                [python, "-W", "ignore", str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.versions = json.loads(self._read())

    def _read(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.readline()

    def ask(self, method: str, matrix: Path, seconds: float) -> dict[str, Any]:
        """What it says of one method and matrix."""
        if self._process is None or self._process.stdin is None:
            return {"missing": True}
        request = {"method": method, "matrix": str(matrix), "seconds": seconds}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read())


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--torchjd", help="a Python that has TorchJD")
    parser.add_argument("--tasks", type=int, nargs="+", default=list(TASKS))
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--seconds", type=float, default=0.1, help="of each of the rounds")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    console = Console()
    peer = Peer(arguments.torchjd)
    names = [*weighting.METHODS, *(n for n in aggregation.METHODS if n not in weighting.METHODS)]
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for num_tasks in arguments.tasks:
            matrix = jacobian(num_tasks)
            file = Path(directory) / f"{num_tasks}.npy"
            np.save(file, matrix)
            for name in arguments.methods or names:
                method = make(name, num_tasks)
                if method is None:
                    continue
                update, state, given = prepare(method, matrix)
                began = time.perf_counter()
                jax.block_until_ready(update(*given, state))
                compiled = time.perf_counter() - began
                found = direction(method, matrix)
                with jax.enable_x64(True):
                    exact = direction(make(name, num_tasks), matrix.astype(np.float64))
                ours, theirs, reply = [], [], {}
                for _ in range(ROUNDS):
                    ours.append(measure(update, state, given, arguments.seconds))
                    reply = peer.ask(name, file, arguments.seconds)
                    if "microseconds" not in reply:
                        break
                    theirs.append(reply["microseconds"])
                row = {
                    "method": name,
                    "tasks": num_tasks,
                    "microseconds": statistics.median(ours),
                    "inside_microseconds": inside(update, state, given, arguments.seconds),
                    "compile_seconds": compiled,
                    "error": None if name in RANDOM else error(found, exact, matrix, fit=False),
                    "baseline": "torchjd" if theirs else None,
                    "baseline_microseconds": statistics.median(theirs) if theirs else None,
                    "ratio": statistics.median(ours) / statistics.median(theirs)
                    if theirs
                    else None,
                    "baseline_error": None
                    if name in RANDOM or not theirs or reply["direction"] is None
                    else error(np.array(reply["direction"]), exact, matrix, fit=True),
                    "baseline_failure": reply.get("error"),
                }
                rows.append(row)
                console.print(
                    f"T={num_tasks} {name}: {row['microseconds']:.0f} us, "
                    f"TorchJD {row['baseline_microseconds'] or float('nan'):.0f} us",
                    highlight=False,
                )
    for num_tasks in arguments.tasks:
        table = Table(title=f"one update, {num_tasks} tasks, one core")
        for title in (
            "method",
            "us",
            "in a step",
            "error",
            "TorchJD us",
            "TorchJD error",
            "times faster",
        ):
            table.add_column(title, justify="left" if title == "method" else "right")
        for row in (row for row in rows if row["tasks"] == num_tasks):
            shown = row["error"], row["baseline_error"]
            errors = ["" if e is None else f"{e:.0e}" for e in shown]
            theirs = row["baseline_microseconds"]
            table.add_row(
                row["method"],
                f"{row['microseconds']:.0f}",
                f"{row['inside_microseconds']:.1f}",
                errors[0],
                "" if theirs is None else f"{theirs:.0f}",
                errors[1],
                "" if theirs is None else f"{1 / row['ratio']:.1f}",
            )
        console.print(table)
    result = {
        "device": f"one core; {jax.devices()[0].device_kind}",
        "versions": versions() | getattr(peer, "versions", {}),
        "shape": {"tasks": arguments.tasks, "coordinates": COORDINATES, "rounds": ROUNDS},
        "rows": rows,
    }
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
