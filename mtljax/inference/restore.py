"""Restoring what a trained model answers with: parameters alone, read-only, on any device."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from mtljax.errors import UserError
from mtljax.training.persistence.checkpoints import checkpoint_steps, quiet, read_score


def restore_params(
    directory: Path, like: Any, averaged: bool, warn: Callable[[str], None]
) -> tuple[int, Any]:
    """Restore the parameters of the best checkpoint.

    Nothing in the directory is changed, so it may be read while the run goes on. Optimizer state is
    not read.

    Args:
      directory: of the checkpoints.
      like: shapes and dtypes of the parameters.
      averaged: whether their moving average is wanted.
      warn: told in one line of a checkpoint that cannot be read; the next best guess, the newest of
        the others, is taken then.

    Returns:
      The step of the checkpoint, and the parameters on the default device.

    Raises:
      UserError: if there is no checkpoint, or none can be read.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise UserError(f"{directory}: no checkpoint there yet")
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), like)
    name = "average" if averaged else "params"
    restore = ocp.args.PyTreeRestore(
        item={name: shapes},
        restore_args=ocp.checkpoint_utils.construct_restore_args({name: shapes}),
        partial_restore=True,
    )
    steps = _by_preference(directory, warn)
    if not steps:
        raise UserError(f"{directory}: no checkpoint there yet")
    with quiet(), ocp.PyTreeCheckpointer() as reader:
        for step in steps:
            place = directory / str(step) / "state"
            try:
                # Asked of what it does not have, Orbax complains from many threads at once.
                _check_fit(reader, place, name, like)
                return step, reader.restore(place, args=restore)[name]
            except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a reader say
                reason = " ".join(str(error).split())[:120]
                warn(f"checkpoint {step} of {directory.parent} cannot be read: {reason}")
    raise UserError(f"{directory}: no checkpoint can be read")


def _check_fit(reader: ocp.Checkpointer, place: Path, name: str, like: Any) -> None:
    metadata: Any = reader.metadata(place).item_metadata
    if metadata is None:
        raise ValueError("what it holds is not listed")
    found = metadata.tree.get(name)
    there = {path: tuple(leaf.shape) for path, leaf in jax.tree.leaves_with_path(found)}
    wanted = {path: tuple(leaf.shape) for path, leaf in jax.tree.leaves_with_path(like)}
    for path in [*wanted, *there]:
        if there.get(path) != wanted.get(path):
            raise ValueError(
                f"{jax.tree_util.keystr(path, simple=True, separator='/')} has shape "
                f"{there.get(path)}, the configuration wants {wanted.get(path)}"
            )


def _by_preference(directory: Path, warn: Callable[[str], None]) -> list[int]:
    # The best first (of equally good ones the newest, as in training), then from the newest on.
    scores = {step: read_score(directory, step) for step in checkpoint_steps(directory)}
    for step, score in scores.items():
        if score is None:
            warn(f"the score of checkpoint {step} of {directory.parent} cannot be read")
    known = [(score, step) for step, score in scores.items() if score is not None]
    best = max(known)[1] if known else None
    return sorted(scores, key=lambda step: (step != best, -step))
