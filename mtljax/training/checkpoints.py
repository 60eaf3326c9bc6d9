"""Checkpoints: asynchronous, atomic, with the position in the data."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from mtljax.errors import UserError
from mtljax.training.step import TrainState

BROKEN = "broken"
"""Suffix of checkpoints that could not be read; they are moved aside, not deleted."""


class Checkpoints:
    """The checkpoints of one run: the two latest and the best.

    A checkpoint holds the train state, the state of the data iterator and the values on validation.
    It appears under its name only when it is complete.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        """Open the directory, made if need be.

        Args:
          directory: of the checkpoints.
          warn: told in one line of a checkpoint that cannot be read.
        """
        self._directory, self._warn = directory.resolve(), warn
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(2),
                    policies.BestN(get_metric_fn=lambda m: m["score"], n=1),
                ]
            ),
            best_fn=lambda m: m["score"],
            save_decision_policy=policies.FixedIntervalPolicy(1),
            enable_async_checkpointing=True,
        )
        # Orbax reads all scores when it opens, and gives up on one that it cannot read.
        for step in checkpoint_steps(self._directory):
            if read_score(self._directory, step) is None:
                self._move_aside(step, "no score")
        with quiet():
            return ocp.CheckpointManager(self._directory, options=options)

    def save(
        self,
        step: int,
        state: TrainState,
        position: Mapping[str, Any],
        values: Mapping[str, Any],
        score: float,
    ) -> None:
        """Begin to save; the arrays are copied before this returns, the rest goes on behind.

        Args:
          step: steps done.
          state: the train state.
          position: of the data iterator, JSON.
          values: on validation, JSON.
          score: by which the best is chosen.
        """
        with quiet():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    progress=ocp.args.JsonSave(
                        {"position": dict(position), "values": dict(values), "score": score}
                    ),
                ),
                metrics={"score": score},
            )

    def wait(self) -> None:
        """Wait until everything is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait and close."""
        with quiet():
            self._manager.wait_until_finished()
            self._manager.close()

    def latest(self, like: TrainState) -> tuple[int, TrainState, dict[str, Any]] | None:
        """Restore the newest checkpoint that can be read.

        One that is damaged is moved aside to ``NAME.broken`` with a word about it, and the one
        before is taken.

        Args:
          like: a state, or its shapes and dtypes, of the tree that was saved.

        Returns:
          Step, state and progress (position, values, score), or None where there is none.

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
            try:
                return step, *self._read(step, like)
            except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a reader say
                damaged = True
                self._manager.close()
                self._move_aside(step, " ".join(str(error).split())[:120])
                self._manager = self._open()
        if damaged and self._manager.latest_step() is None:
            raise UserError(f"{self._directory}: no checkpoint can be read")
        return None

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint that is complete, None if there is none."""
        return self._manager.latest_step()

    def _read(self, step: int, like: TrainState) -> tuple[TrainState, dict[str, Any]]:
        shapes = jax.eval_shape(lambda state: state, like)
        with quiet():
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(shapes), progress=ocp.args.JsonRestore()
                ),
            )
        return restored["state"], restored["progress"]

    def _move_aside(self, step: int, reason: str) -> None:
        aside = self._directory / f"{step}.{BROKEN}"
        number = 1
        while aside.exists():
            number += 1
            aside = self._directory / f"{step}.{BROKEN}{number}"
        (self._directory / str(step)).rename(aside)
        self._warn(f"checkpoint {step} cannot be read, moved to {aside.name}: {reason}")


def checkpoint_steps(directory: Path) -> list[int]:
    """The steps that have a checkpoint in a directory, the latest last.

    Raises:
      UserError: if the directory cannot be read.
    """
    try:
        names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror or error}") from None
    return sorted(int(name) for name in names if name.isdigit())


def read_score(directory: Path, step: int) -> float | None:
    """The score of a checkpoint, None if it cannot be read."""
    try:
        found = json.loads((directory / str(step) / "metrics" / "metrics").read_bytes())["score"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(found) if isinstance(found, int | float) else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Orbax's and absl's running commentary out of the output; errors are raised anyway."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
