"""Checkpoints, written asynchronously and atomically, with the position in the data."""

import contextlib
import errno
import functools
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from mtljax.errors import UserError
from mtljax.parallel.processes import gather_texts
from mtljax.step.state import TrainState
from mtljax.training.multihost import (
    collective_error,
    is_loss_of_process,
    is_writer,
    on_all_processes,
)
from mtljax.training.persistence.checkpoint_digests import (
    METADATA,
    check_checkpoint,
    digest_checkpoint,
    digest_shards,
    metadata_is_usable,
    read_score,
    unfinished,
    without_digests,
)
from mtljax.training.persistence.late_errors import quiet_late_errors
from mtljax.training.persistence.literal_path import LiteralPath

BROKEN = "broken"
"""Suffix of checkpoints that could not be read; they are moved aside, not deleted."""

_WRITTEN = "async_write_complete"  # in what Orbax calls the barrier when the arrays are written

_POLL = 0.03  # seconds between two questions whether all processes have written

UNMEASURED = -1e30
"""The score of a checkpoint that was saved without an evaluation: below all others."""


def score_of(task: str) -> str:
    """The name of a task's own score among those of a checkpoint."""
    return f"score/{task}"


class Checkpoints:
    """The checkpoints of one run: the two latest and the best, and if asked the best of each task.

    A checkpoint holds the train state, the state of the data iterator and the values on validation.
    It appears under its name only when it is complete, with the digests of its files, and is read
    only if they are as they were written.

    All processes of a run must call each method, except `latest_step`, at the same point.
    """

    def __init__(
        self, directory: Path, warn: Callable[[str], None], each: Sequence[str] = ()
    ) -> None:
        """Open the directory, made if need be.

        Args:
          directory: of the checkpoints.
          warn: called with one line about each checkpoint that cannot be read.
          each: tasks of which the best checkpoint is kept too.

        Raises:
          UserError: if the directory cannot be read.
        """
        self._directory, self._warn = directory.resolve(), warn
        self._failed, self._problem, self._each = False, "", tuple(each)
        self._saving = -1  # the step of the checkpoint that is written
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(2),
                    policies.BestN(get_metric_fn=lambda m: m["score"], n=1),
                    *(
                        policies.BestN(
                            get_metric_fn=functools.partial(_task_score, score_of(task)), n=1
                        )
                        for task in self._each
                    ),
                ]
            ),
            best_fn=lambda m: m["score"],
            save_decision_policy=policies.FixedIntervalPolicy(1),
            enable_async_checkpointing=True,
            async_options=ocp.AsyncOptions(
                barrier_sync_fn=self._barrier, post_finalization_callback=self._digest
            ),
        )
        on_all_processes(self._move_damaged)
        with quiet():
            return ocp.CheckpointManager(LiteralPath(self._directory), options=options)

    def _move_damaged(self) -> None:
        # Orbax reads all scores and times when it opens, and raises at one that it cannot read.
        for step in checkpoint_steps(self._directory) if is_writer() else ():
            if read_score(self._directory, step) is None:
                self._move_aside(step, "no score")
            elif not metadata_is_usable(checkpoint := self._directory / str(step)):
                (checkpoint / METADATA).replace(checkpoint / f"{METADATA}.{BROKEN}")
                self._warn(f"checkpoint {step}: {METADATA} is damaged, and done without")

    def save(
        self,
        step: int,
        state: TrainState,
        position: Mapping[str, Any],
        values: Mapping[str, Any],
        score: float,
        best: list[Any] | None = None,
        stops: Mapping[str, Any] | None = None,
        of_tasks: Mapping[str, float] | None = None,
    ) -> None:
        """Begin to save: the arrays are copied before this returns, and written by a thread.

        Args:
          step: steps done.
          state: the train state; its memory may be reused when this returns.
          position: state of the data iterator, as JSON.
          values: on validation, as JSON.
          score: by which the best checkpoint is chosen, the highest.
          best: of `mtljax.training.stopping`, as JSON.
          stops: of `mtljax.training.task_stopping`, as JSON.
          of_tasks: the scores of tasks, by name; those of which the best checkpoint is kept.

        Raises:
          UserError: if this one or the one before cannot be written.
        """
        self.wait()
        quiet_late_errors()
        self._saving = step
        with quiet(), self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    progress=ocp.args.JsonSave(
                        {
                            "position": dict(position),
                            "values": dict(values),
                            "score": score,
                            "best": best,
                            **({} if stops is None else {"stops": dict(stops)}),
                        }
                    ),
                ),
                metrics={
                    "score": score,
                    **{
                        score_of(task): value
                        for task, value in (of_tasks or {}).items()
                        if task in self._each and math.isfinite(value)
                    },
                },
            )

    def wait(self) -> None:
        """Wait until everything is on disk.

        Raises:
          UserError: if it cannot be written, in whichever process.
        """
        # Orbax would let the other processes wait for one that cannot write: they ask each other.
        while jax.process_count() > 1:
            busy = gather_texts("busy" if self._manager.is_saving_in_progress() else "")
            problems = [text for text in gather_texts(self._problem) if text]
            if problems:
                raise collective_error(self._unwritten(problems[0]))
            if not any(busy):
                break
            time.sleep(_POLL)
        with quiet(), self._writing():
            self._manager.wait_until_finished()

    def _barrier(self, *, key: str, timeout_ms: int) -> None:
        # Called by the threads that write. After an error Orbax would wait here for the other
        # processes, which wait for the file that was not written.
        error = sys.exc_info()[1]
        if error is not None:
            self._problem = _short(error) or type(error).__name__
            raise error
        if _WRITTEN in key and not is_writer():
            with self._noted():
                digest_shards(unfinished(self._directory, self._saving), jax.process_index())
        ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)

    def _digest(self) -> None:
        # Called by the thread of the first process, when all but the name of a checkpoint is there.
        with self._noted():
            digest_checkpoint(unfinished(self._directory, self._saving), jax.process_count())

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Note an error for the other processes, which `wait` asks for."""
        try:
            yield
        except Exception as error:
            self._problem = _short(error) or type(error).__name__
            raise

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if is_loss_of_process(error):
                raise
            raise self._unwritten(_short(error)) from error

    def _unwritten(self, reason: str) -> UserError:
        self._failed = True
        kept = checkpoint_steps(self._directory)
        last = f"step {kept[-1]}" if kept else "the beginning"
        return UserError(
            f"{self._directory}: a checkpoint cannot be written ({reason}); put that right, and "
            f"the same command continues from {last}"
        )

    def close(self) -> None:
        """Wait until everything is on disk, and close; after a failed write, do neither.

        Raises:
          UserError: if it cannot be written, in whichever process.
        """
        if self._failed:
            return
        self.wait()
        with quiet():
            self._manager.close()

    def latest(self, like: TrainState) -> tuple[int, TrainState, dict[str, Any]] | None:
        """Restore the newest checkpoint that can be read.

        One that is damaged is moved aside to ``STEP.broken``, with a warning, and the one before is
        read.

        Args:
          like: a state, or its shapes and dtypes, of the tree that was saved. Its shardings say
            which device gets what, whatever the shardings were when it was saved.

        Returns:
          Step, state and progress (position, values, score, best), or None where there is none.

        Raises:
          UserError: if there are checkpoints and none can be read.
        """
        return self._restore(lambda: self._manager.latest_step(), like)

    def best(self, like: TrainState) -> tuple[int, TrainState, dict[str, Any]] | None:
        """Restore the checkpoint with the best score; otherwise as `latest`."""
        return self._restore(lambda: self._manager.best_step(), like) or self.latest(like)

    def _restore(
        self, pick: Callable[[], int | None], like: TrainState
    ) -> tuple[int, TrainState, dict[str, Any]] | None:
        damaged = False
        while (step := pick()) is not None:
            restored, problem = None, ""
            try:
                restored = self._read(step, like)
            except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a reader say
                problem = _short(error) or type(error).__name__
            # What one process cannot read, none of them uses.
            problems = [text for text in gather_texts(problem) if text]
            if restored is not None and not problems:
                return step, *restored
            damaged = True
            self._manager.close()
            if is_writer():
                self._move_aside(step, problems[0])
            self._manager = self._open()
        if damaged and self._manager.latest_step() is None:
            raise collective_error(UserError(f"{self._directory}: no checkpoint can be read"))
        return None

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint that is complete, None if there is none."""
        return self._manager.latest_step()

    def _read(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        shapes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None)
            ),
            like,
        )
        # Each process checks some of the files, for all of them.
        process, processes = jax.process_index(), jax.process_count()
        if not check_checkpoint(self._directory / str(step), process, processes):
            self._warn(without_digests(step))
        # Each reads by itself, so that the others do not wait for one that fails.
        alone = ocp.options.MultiprocessingOptions(primary_host=process, active_processes={process})
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(shapes), progress=ocp.args.JsonRestore()
        )
        handler = ocp.CompositeCheckpointHandler()
        with quiet(), ocp.Checkpointer(handler, multiprocessing_options=alone) as reader:
            restored = reader.restore(LiteralPath(self._directory / str(step)), args=args)
        return restored["state"], restored["progress"]

    def _move_aside(self, step: int, reason: str) -> None:
        aside = self._directory / f"{step}.{BROKEN}"
        number = 1
        while aside.exists():
            number += 1
            aside = self._directory / f"{step}.{BROKEN}{number}"
        (self._directory / str(step)).rename(aside)
        self._warn(f"checkpoint {step} cannot be read, moved to {aside.name}: {reason}")


def _task_score(name: str, metrics: Mapping[str, float]) -> float:
    return metrics.get(name, -math.inf)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(number) in text:
            return os.strerror(number)
    # The message of the system stands far behind, after names of files.
    match = re.search(r": ([^:\[\]]+) \[os_error_code=", text)
    return match[1] if match else text[:120]


def checkpoint_steps(directory: Path) -> list[int]:
    """The steps that have a checkpoint in a directory, in ascending order.

    Args:
      directory: of the checkpoints; it need not exist.

    Raises:
      UserError: if the directory cannot be read.
    """
    try:
        names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror or error}") from None
    return sorted(int(name) for name in names if name.isdigit())


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the log messages of Orbax and absl out of the output; errors are raised anyway."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
