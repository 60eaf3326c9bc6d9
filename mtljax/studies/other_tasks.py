"""Settings that are of other tasks, left out where a task is learned alone."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax

from mtljax.presets import Config

_PENALTIES = ("l2", "l1", "group_lasso")


def parameter_paths(params: Any) -> list[str]:
    """The paths of all parameters, as expressions of a configuration search them."""
    leaves = jax.tree.leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


def without_patterns_of(config: Config, paths: Sequence[str], others: Sequence[str]) -> Config:
    """A configuration without the expressions that find parameters of other tasks alone.

    An expression that finds nothing at all is left, for training to refuse.

    Args:
      config: of several tasks.
      paths: of their parameters.
      others: names of the tasks that are not there.

    Returns:
      The configuration for the task that is left.
    """
    gone = tuple(f"{part}/{name}/" for name in others for part in ("heads", "private"))
    left = [path for path in paths if not path.startswith(gone)]

    def kept(pattern: str) -> bool:
        try:
            search = re.compile(pattern).search
        except re.error:
            return True
        return any(map(search, left)) or not any(map(search, paths))

    optimizer = dataclasses.replace(
        config.optimizer,
        frozen=tuple(pattern for pattern in config.optimizer.frozen if kept(pattern)),
        rates=tuple(rule for rule in config.optimizer.rates if kept(rule.rpartition("=")[0])),
    )
    regularizer = config.regularizer
    dropped = {name: 0.0 for name in _PENALTIES if not kept(getattr(regularizer, f"{name}_on"))}
    return dataclasses.replace(
        config,
        optimizer=optimizer,
        regularizer=dataclasses.replace(regularizer, **dropped),
    )
