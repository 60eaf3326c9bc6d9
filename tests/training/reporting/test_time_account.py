"""The account of wall time, by a clock of its own."""

import contextlib
import json

import jax
import pytest

from mtljax.training.reporting import time_account as module
from mtljax.training.reporting.metrics_file import MetricsFile
from mtljax.training.reporting.time_account import NAME, PARTS, TimeAccount, time_account

COMPILE = "/jax/core/compile/backend_compile_duration"


class Clock:
    """Stands for `time`: it goes on when it is told to."""

    def __init__(self):
        self.now = 1e9

    def time(self):
        return self.now

    def perf_counter(self):
        return self.now - 5e8

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def parts(account):
    return {name: round(value, 4) for name, value in account.seconds().items() if value}


def test_time_goes_into_the_innermost_part_and_what_is_compiled_apart(clock):
    account = TimeAccount()
    clock.sleep(1)
    with account.spent("productive"):
        clock.sleep(10)
        with account.spent("evaluation"):
            clock.sleep(3)
            account.on_event(COMPILE, 2.0, fun_name="f")
            account.on_event("/jax/compilation_cache/compile_time_saved_sec", 2.0)
        clock.sleep(4)
        # Traced within what is traced: JAX tells the inner one first, then both together.
        account.on_event("/jax/core/compile/jaxpr_trace_duration", 1.5)
        clock.sleep(1)
        account.on_event("/jax/core/compile/jaxpr_trace_duration", 3.0)
        account.move(0.5, "data")
    assert parts(account) == {
        **{"wall": 19.0, "productive": 11.5, "compiling": 5.0, "data": 0.5},
        **{"evaluation": 1.0, "other": 1.0},
    }
    assert account.logged()["seconds/wall"] == 19.0 and len(account.logged()) == len(PARTS) + 1


def test_jax_says_what_it_compiles():
    with time_account() as account:
        jax.jit(lambda x: x * 3 + 7)(2.0)
        compiled = account.seconds()["compiling"]
        assert compiled > 0
    jax.jit(lambda x: x * 3 + 8)(2.0)
    assert account.seconds()["compiling"] == compiled


def started(clock, directory, step):
    account = TimeAccount()
    clock.sleep(1)
    account.open(directory)
    account.go_on_from(step)
    return account


def steps(clock, account, directory, numbers):
    file = MetricsFile(directory, numbers[0] - 1)
    with contextlib.closing(file), account.spent("productive"):
        for number in numbers:
            account.step = number
            clock.sleep(10)
            file.write(number, "train", account.logged())


def test_over_kills_and_restarts_it_adds_up_to_the_clock(clock, tmp_path):
    began = clock.now
    account = started(clock, tmp_path, -1)
    steps(clock, account, tmp_path, (1, 2, 3))
    # Killed after step 3, with a checkpoint of step 2, and started 100 seconds later: twice, since
    # the second one is killed before it has done a step.
    clock.sleep(100)
    started(clock, tmp_path, 2)
    clock.sleep(50)
    account = started(clock, tmp_path, 2)
    expected = {"wall": 183.0, "productive": 20.0, "lost": 10.0, "other": 3.0, "stopped": 150.0}
    assert parts(account) == expected
    assert clock.now - began == expected["wall"]
    # Stopped in order, and continued from where it was.
    steps(clock, account, tmp_path, (3, 4))
    clock.sleep(1)
    account.close()
    clock.sleep(1000)
    account = started(clock, tmp_path, 4)
    expected |= {"wall": 1205.0, "productive": 40.0, "other": 5.0, "stopped": 1150.0}
    assert parts(account) == expected
    assert clock.now - began == expected["wall"]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\x00",
        b"[1]",
        b"{}",
        b'{"time": 1e9, "step": "x", "seconds": {}}',
        b'{"start": NaN}',
        b'{"time": 1, "step": 9, "seconds": null}',
    ],
)
def test_a_damaged_line_is_left_out(clock, tmp_path, line):
    account = started(clock, tmp_path, -1)
    steps(clock, account, tmp_path, (1, 2))
    with (tmp_path / NAME).open("ab") as times:
        times.write(line + b"\n")
    clock.sleep(5)
    account = started(clock, tmp_path, 2)
    assert parts(account) == {"wall": 27.0, "productive": 20.0, "other": 2.0, "stopped": 5.0}


def test_without_what_earlier_starts_left_it_is_of_this_one(clock, tmp_path):
    account = started(clock, tmp_path, -1)
    steps(clock, account, tmp_path, (1, 2))
    (tmp_path / NAME).unlink()
    account = started(clock, tmp_path, 2)
    assert parts(account) == {"wall": 1.0, "other": 1.0}
    assert json.loads((tmp_path / NAME).read_text().splitlines()[0]) == {"start": clock.now - 1}
