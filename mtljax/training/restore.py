"""Restores a run's model and the parameters of its best checkpoint, without changing the run."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from mtljax.data import Layout
from mtljax.digests import NAME
from mtljax.errors import UserError
from mtljax.presets import Config
from mtljax.training.model import Model, build_model, initial_params
from mtljax.training.persistence.checkpoint_digests import (
    check_checkpoint,
    read_score,
    without_digests,
)
from mtljax.training.persistence.checkpoints import checkpoint_steps, quiet
from mtljax.training.persistence.literal_path import LiteralPath
from mtljax.training.persistence.open_files import allow_open_files
from mtljax.training.persistence.run_digests import run_digests


def restored_model(directory: Path, config: Config, layout: Layout) -> tuple[Model, Any]:
    """The model of a run, and a tree of the shapes of its parameters.

    Args:
      directory: of the run.
      config: of the run.
      layout: of its data.

    Raises:
      UserError: if they do not fit each other.
    """
    try:
        model = build_model(config, layout)
        return model, jax.eval_shape(lambda: initial_params(model))
    except UserError:
        raise
    except Exception as error:
        if run_digests(directory) is not None:
            raise
        # Of an older version, and damaged in a manner that its files alone do not show.
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{directory}: its files do not fit each other ({reason})") from None


def restore_params(
    directory: Path,
    like: Any,
    averaged: bool,
    warn: Callable[[str], None],
    steps: Sequence[int] = (),
) -> tuple[int, Any]:
    """Restore the parameters of the best checkpoint.

    Nothing in the directory is changed, so it may be read while the run continues. Optimizer state
    is not read.

    Args:
      directory: the directory of the checkpoints.
      like: a tree like the parameters, of arrays or of their shapes and dtypes.
      averaged: whether to restore their moving average instead.
      warn: is called with one line about a checkpoint that cannot be read; the next best is taken
        then.
      steps: those of the checkpoints that may be taken, the preferred one first; all by default.

    Returns:
      The step of the checkpoint, and the parameters on the default device.

    Raises:
      UserError: if there is no checkpoint, or none can be read, or too few files may be open.
    """
    allow_open_files()
    directory = directory.resolve()
    if not directory.is_dir():
        raise UserError(f"{directory}: no checkpoint there yet")
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), like)
    name = "average" if averaged else "params"
    restore = ocp.args.PyTreeRestore(
        item={name: shapes},
        restore_args=ocp.checkpoint_utils.construct_restore_args({name: shapes}),
        partial_restore=True,
    )
    given, steps = bool(steps), steps or _by_preference(directory, warn)
    if not steps:
        raise UserError(f"{directory}: no checkpoint there yet")
    with quiet(), ocp.PyTreeCheckpointer() as reader:
        for step in steps:
            checkpoint = directory / str(step)
            state = LiteralPath(checkpoint / "state")
            try:
                checked = check_checkpoint(checkpoint)
                # Asked for what a checkpoint lacks, Orbax complains from many threads at once.
                _check_shapes(reader, state, name, like)
                params = reader.restore(state, args=restore)[name]
            except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a reader say
                if not checkpoint.exists() and not given:
                    # The run, which continues, has a better one.
                    return restore_params(directory, like, averaged, warn)
                reason = " ".join(str(error).split())[:120]
                warn(f"checkpoint {step} of {directory.parent} cannot be read: {reason}")
                continue
            if not checked and (directory.parent / NAME).exists():  # else the whole run has none
                warn(without_digests(step))
            return step, params
    raise UserError(f"{directory}: no checkpoint can be read")


def _check_shapes(reader: ocp.Checkpointer, state: LiteralPath, name: str, like: Any) -> None:
    metadata: Any = reader.metadata(state).item_metadata
    if metadata is None:
        raise ValueError("what it holds is not listed")

    def shapes(tree: Any) -> dict[Any, tuple[int, ...]]:
        return {path: tuple(leaf.shape) for path, leaf in jax.tree.leaves_with_path(tree)}

    saved, wanted = shapes(metadata.tree.get(name)), shapes(like)
    for path in [*wanted, *saved]:
        if saved.get(path) != wanted.get(path):
            raise ValueError(
                f"{jax.tree_util.keystr(path, simple=True, separator='/')} has shape "
                f"{saved.get(path)}, the configuration wants {wanted.get(path)}"
            )


def _by_preference(directory: Path, warn: Callable[[str], None]) -> list[int]:
    """The steps from the best score to the worst, of equal ones the newest first, as in training.

    Those without a score come last.
    """
    scores = {step: read_score(directory, step) for step in checkpoint_steps(directory)}
    for step, score in scores.items():
        if score is None:
            warn(f"the score of checkpoint {step} of {directory.parent} cannot be read")
    ranks = [(-math.inf if score is None else score, step) for step, score in scores.items()]
    return [step for _, step in sorted(ranks, reverse=True)]
