"""What several runs were trained from, found again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtljax.errors import UserError
from mtljax.modules.shared_heads import encoder_params
from mtljax.pretrained.load import open_source, read_parameters
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.start_record import parameters_digest, read_start
from mtljax.training.restore import restore_params, restored_model
from mtljax.training.starting_point import check_shapes


def common_ancestor(
    runs: Sequence[Path], like: Any, directory: str | Path | None, say: Callable[[str], None]
) -> tuple[Any, dict[str, Any]]:
    """Read the parameters of the encoder that all of some runs began with.

    They are recognized by the digest that each run keeps of them, wherever they lie now.

    Args:
      runs: directories of the runs.
      like: a tree like the parameters.
      directory: of the run or pretrained model that they began from; None for where the first run
        had it from.
      say: is called with a line about a damaged checkpoint.

    Returns:
      A tree of NumPy arrays, and where it was found, as JSON.

    Raises:
      UserError: the runs began from other parameters, or these are no more there.
    """
    starts = [read_start(run) for run in runs]
    for run, start in zip(runs, starts, strict=True):
        if start is None or start["from"] not in _READERS:
            raise UserError(
                f"runs to merge: {run} has no ancestor; it began neither with "
                "--encoder.from-run nor with --encoder.pretrained"
            )
    first = starts[0]
    assert first is not None
    for run, start in zip(runs, starts, strict=True):
        if start is not None and start["shared"] != first["shared"]:
            raise UserError(
                f"runs to merge: {runs[0]} and {run} have no common ancestor; one began from "
                f"{_of(first)}, the other from {_of(start)}"
            )
    place = Path(directory or first["directory"])
    kind = "run" if run_directory.holds_run(place) else "pretrained"
    if directory is None and kind != first["from"]:
        raise UserError(
            f"runs to merge: their ancestor {place} is no more there; --ancestor says where it is"
        )
    found = _READERS[kind](place, like, say)
    if parameters_digest(found) != first["shared"]:
        raise UserError(
            f"ancestor {place}: its parameters are not those that the runs began with; --ancestor "
            "names another"
        )
    return found, {"from": kind, "directory": str(place.absolute()), "shared": first["shared"]}


def _of(start: dict[str, Any]) -> str:
    step = f", step {start['step']}" if "step" in start else ""
    return f"{start.get('directory', start['from'])}{step}"


def _of_run(directory: Path, like: Any, say: Callable[[str], None]) -> Any:
    files = run_directory.read_run(directory, say)
    _, shapes = restored_model(directory, files.config, files.layout)
    check_shapes(f"ancestor {directory}", "shared", encoder_params(shapes["shared"]), like)
    _, params = restore_params(
        directory / run_directory.CHECKPOINTS,
        shapes,
        averaged=files.config.optimizer.average > 0,
        warn=say,
    )
    found = encoder_params(params["shared"])
    return jax.tree.map(lambda leaf, same: np.asarray(leaf, same.dtype), found, like)


def _of_pretrained(directory: Path, like: Any, say: Callable[[str], None]) -> Any:
    del say
    leaves = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(like)}
    shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
    found, _ = read_parameters(open_source(directory), shapes)
    missing = sorted(set(leaves) - set(found))
    if missing:
        raise UserError(f"ancestor {directory}: has no {missing[0]}")
    return jax.tree_util.tree_map_with_path(lambda path, _: np.asarray(found[_name(path)]), like)


_READERS = {"run": _of_run, "pretrained": _of_pretrained}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
