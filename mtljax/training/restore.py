"""Restoring what a trained model answers with: parameters alone, read-only, on any device."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from mtljax.errors import UserError
from mtljax.modules import init
from mtljax.modules.network import Params
from mtljax.training.checkpoints import quiet
from mtljax.training.model import Model


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
    with quiet(), _open(directory) as manager:
        steps = _by_preference(manager)
        if not steps:
            raise UserError(f"{directory}: no checkpoint there yet")
        for step in steps:
            try:
                # Asked of what it does not have, Orbax complains from many threads at once.
                _check_fit(directory / str(step) / "state", name, like)
                restored = manager.restore(step, args=ocp.args.Composite(state=restore))
                return step, restored["state"][name]
            except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a reader say
                reason = " ".join(str(error).split())[:120]
                warn(f"checkpoint {step} of {directory.parent} cannot be read: {reason}")
    raise UserError(f"{directory}: no checkpoint can be read")


def initial_params(model: Model) -> Params:
    """The parameters of a model before training, drawn with key 0; under `jax.eval_shape`, shapes.

    The first state of a training run is drawn by `mtljax.training.make_init`.
    """
    batches: dict[str, dict[str, np.ndarray]] = {}
    for name, shape in model.layout.shapes.items():
        size = (1, shape.row_length)
        rows = {key: np.zeros(size, np.int32) for key in ("tokens", "segments", "positions")}
        affixes = np.zeros((*size, shape.affixes), np.int32)
        batches[name] = {**rows, "affixes": affixes} if shape.affixes else rows
    return init(model.network, jax.random.key(0), batches)


def _open(directory: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(read_only=True, best_fn=lambda values: values["score"])
    return ocp.CheckpointManager(directory, options=options)


def _check_fit(place: Path, name: str, like: Any) -> None:
    metadata: Any = ocp.PyTreeCheckpointer().metadata(place).item_metadata
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


def _by_preference(manager: ocp.CheckpointManager) -> list[int]:
    newest_first = sorted(manager.all_steps(), reverse=True)
    try:
        best = manager.best_step()
    except Exception:  # noqa: BLE001 - the scores are in files that may be damaged as well
        best = None
    return sorted(newest_first, key=lambda step: step != best)
