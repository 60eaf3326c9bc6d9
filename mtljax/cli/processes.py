"""A command as several processes: how they join each other, and how each ends."""

import contextlib
import dataclasses
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from mtljax.cli.exhausted import exhausted
from mtljax.errors import Interrupted, Preempted, UserError, visible

if TYPE_CHECKING:
    from mtljax.parallel.processes import ProcessSpec

_LAST = 2.0  # seconds in which the others can print why they end, before JAX ends them all

Preemption = Callable[[int], bool]
"""From the number of a step to whether to stop after it; all processes get the same answer."""


@dataclasses.dataclass(frozen=True)
class ProcessOptions:
    """Which process of a run this is.

    Attributes:
      coordinator: HOST:PORT of process 0, to which all connect; by default the environment's
        JAX_COORDINATOR_ADDRESS.
      processes: number of processes; by default the environment's JAX_NUM_PROCESSES, else what
        SLURM, Open MPI, Kubernetes or a TPU VM says; 1 for this one alone.
      process: number of this one, from 0; by default the environment's JAX_PROCESS_ID.
      timeout: seconds that processes wait for each other at the start.
    """

    coordinator: str | None = None
    processes: int = 0
    process: int = -1
    timeout: float = 300.0


@contextlib.contextmanager
def joined(options: ProcessOptions, command: str, saved: Path) -> Iterator[Preemption]:
    """Connect to the other processes, if there are any, and disconnect in the end.

    Where there are several, a process that fails ends here, with its exit code: at once if it
    fails alone, so that nobody waits for it.

    Args:
      options: which process this is.
      command: name of the subcommand, for messages.
      saved: directory of the checkpoints, for the message when another process is gone.

    Yields:
      The function that tells whether SIGTERM or, after it was first called, Ctrl-C has come, here
      or in another process. A second one is not held back.

    Raises:
      UserError: if the options contradict each other.
    """
    from mtljax.parallel.processes import cluster, named_process

    try:
        spec = named_process(options.coordinator, options.processes, options.process)
    except ValueError as error:
        raise UserError(f"parallel.{error}") from None
    if options.timeout <= 0:
        raise UserError(f"parallel.timeout: must be positive, got {options.timeout}")
    if spec is None and (options.processes == 1 or not cluster()):
        received = threading.Event()
        with (
            _held(signal.SIGTERM, lambda: True, received.set),
            _interruptible(command, lambda step: received.is_set(), received.set) as preempted,
        ):
            yield preempted
        return
    _initialize(spec, options.timeout, command)
    from jax.experimental.multihost_utils import reached_preemption_sync_point

    try:
        # JAX has all processes agree on a step after SIGTERM, to one of them or to all.
        terminate = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
        with _interruptible(command, reached_preemption_sync_point, terminate) as preempted:
            yield preempted
    except BaseException as error:
        _leave(error, command, saved)
    _part()


@contextlib.contextmanager
def _interruptible(
    command: str, preempted: Callable[..., bool], stop: Callable[[], None]
) -> Iterator[Preemption]:
    """Have Ctrl-C stop a run after its step, from the first on: before, there is nothing to save.

    It calls `stop`, so that `preempted` returns True.
    """
    stepping, interrupted = threading.Event(), threading.Event()

    def note() -> None:
        interrupted.set()
        text = "interrupted: stops when the step is saved; again, and it stops at once"
        with contextlib.suppress(OSError):
            os.write(2, _line(command, text))  # the signal may have come amid another line
        stop()

    def asked(step: int) -> bool:
        stepping.set()
        return preempted(step)

    with _held(signal.SIGINT, stepping.is_set, note):
        try:
            yield asked
        except Preempted as error:
            if interrupted.is_set():
                raise Interrupted(*error.args) from None
            raise


@contextlib.contextmanager
def _held(number: int, held: Callable[[], bool], note: Callable[[], None]) -> Iterator[None]:
    """Have the first signal of a number call `note` where `held()`, and do no more."""

    def handle(number: int, frame: FrameType | None) -> None:
        if not held():
            assert callable(before)
            before(number, frame)
            return
        signal.signal(number, before)  # a second one is not to be ignored
        note()

    before = signal.getsignal(number)
    main = threading.current_thread() is threading.main_thread()
    # Ctrl-C is ignored where a shell has started the command in the background.
    if not main or (number == signal.SIGINT and before is not signal.default_int_handler):
        yield
        return
    signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)


def _initialize(spec: "ProcessSpec | None", timeout: float, command: str) -> None:
    from mtljax.parallel.processes import initialize

    # Stdout is for results alone: what the libraries of JAX print goes to stderr.
    results = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(results, "w", encoding=sys.stdout.encoding, errors="replace")
    joined_all = threading.Event()

    def watch() -> None:
        # Before JAX does, which ends the process with pages of its own.
        if not joined_all.wait(timeout):
            where = "the coordinator" if spec is None else spec.coordinator
            what = "the other processes have not come to"
            if spec is not None and spec.process > 0 and not _answers(spec.coordinator):
                what = "no process 0 answers at"
            _say(command, f"parallel: {what} {where} within {timeout:g} s (--parallel.timeout)")
            os._exit(2)

    threading.Thread(target=watch, daemon=True).start()
    try:
        initialize(spec, timeout + 60)
    except (ValueError, RuntimeError, OSError) as error:
        raise UserError(
            f"parallel: the processes cannot meet ({error}); name --parallel.coordinator, "
            "processes and process, or --parallel.processes 1 for this one alone"
        ) from None
    finally:
        joined_all.set()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except OSError:
        return False


def _leave(error: BaseException, command: str, saved: Path) -> NoReturn:
    """End this process at once: threads that wait for the other processes would delay its end."""
    import jax

    from mtljax.training.multihost import CollectiveError, is_loss_of_process
    from mtljax.training.persistence.checkpoints import checkpoint_steps

    # The exit code and the one line to print, which one process prints for all where all agree.
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # from threads that lose the others
    number = jax.process_index()
    code, line = 1, ""
    if isinstance(error, CollectiveError):
        code, line = 2, "" if number else str(error)
    elif isinstance(error, Preempted):
        code, line = preempted_code(error), "" if number else preempted_line(error)
    elif isinstance(error, UserError):
        code, line = 2, f"process {number}: {error}"
    elif isinstance(error, KeyboardInterrupt):
        code = 130
        line = "" if number else "interrupted; the same command continues where the run was left"
    elif is_loss_of_process(error):
        steps = checkpoint_steps(saved)
        last = f"step {steps[-1]}" if steps else "the beginning"
        reason = " ".join(str(error).split())[:100]
        line = f"process {number}: another process is gone ({reason}); the same command continues "
        line += f"from {last}"
    elif (reason := exhausted(error)) is not None:
        code, line = 2, f"process {number}: {reason}"
    else:
        traceback.print_exception(error)
    if line:
        _say(command, line)

    # Leave the others: in agreement, or after they had time to print their own lines.
    if number == 0 and is_loss_of_process(error):
        time.sleep(_LAST)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
        if isinstance(error, CollectiveError | Preempted):
            jax.distributed.shutdown()  # all leave together, so that none finds the others gone
    os._exit(code)


def preempted_line(error: Preempted) -> str:
    """The message about a run that SIGTERM or Ctrl-C has stopped."""
    signal_ = "interrupted" if isinstance(error, Interrupted) else "SIGTERM"
    return f"{signal_}; {error}, the same command continues from there"


def preempted_code(error: Preempted) -> int:
    """The exit code of a run that SIGTERM or Ctrl-C has stopped: 128 and the signal."""
    return 128 + (signal.SIGINT if isinstance(error, Interrupted) else signal.SIGTERM)


def _part() -> None:
    import jax

    sys.stdout.flush()
    jax.distributed.shutdown()


def _say(command: str, text: str) -> None:
    print(_line(command, text).decode(), end="", file=sys.stderr, flush=True)


def _line(command: str, text: str) -> bytes:
    return f"mtljax {command}: {' '.join(visible(text).split())}\n".encode(
        "utf-8", "backslashreplace"
    )
