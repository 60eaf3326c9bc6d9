"""The head of each task as it was at that task's own best step, where one encoder serves them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtljax.errors import UserError
from mtljax.modules.structures import PRIVATE
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.checkpoint_digests import read_scores
from mtljax.training.persistence.checkpoints import checkpoint_steps, score_of
from mtljax.training.restore import restore_params, restored_model


def best_steps(directory: Path, tasks: list[str]) -> dict[str, int]:
    """By task, the step of its best checkpoint; of equal ones the first.

    Args:
      directory: of a run that was trained with `stopping.keep_each`.
      tasks: their names; those without a target in validation are left out.

    Raises:
      UserError: no checkpoint says how good a task was.
    """
    folder = directory / run_directory.CHECKPOINTS
    scores = {step: read_scores(folder, step) or {} for step in checkpoint_steps(folder)}
    found: dict[str, int] = {}
    for task in tasks:
        ranks = [(of[score_of(task)], -step) for step, of in scores.items() if score_of(task) in of]
        if ranks:
            found[task] = -max(ranks)[1]
    if not found:
        raise UserError(
            f"{directory}: its checkpoints do not say how good each task was; "
            "--stopping.keep-each has a run keep the best of each"
        )
    return found


def best_heads(
    directory: Path, like: Any, say: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, int]]:
    """The heads of tasks from their own best steps, for an encoder that did not move meanwhile.

    Args:
      directory: of a run that was trained with `stopping.keep_each` and a frozen encoder.
      like: the parameters of its best checkpoint, whose encoder the heads are for.
      say: is called with one line about a checkpoint that cannot be read.

    Returns:
      By task its head, NumPy arrays, and the step that it is from; tasks without a target in
      validation are left out.

    Raises:
      UserError: the shared parameters are others at one of the steps, tasks have private ones, or a
        checkpoint cannot be read.
    """
    if PRIVATE in like:
        raise UserError(
            f"{directory}: its tasks have private parameters, which are those of one step; heads "
            "of several steps want a structure without"
        )
    files = run_directory.read_run(directory, say)
    steps = best_steps(directory, [task.name for task in files.tasks])
    _, shapes = restored_model(directory, files.config, files.layout)
    heads: dict[str, Any] = {}
    for step in sorted(set(steps.values())):
        _, params = restore_params(
            directory / run_directory.CHECKPOINTS,
            shapes,
            averaged=files.config.optimizer.average > 0,
            warn=say,
            steps=[step],
        )
        if not jax.tree.all(jax.tree.map(np.array_equal, params["shared"], like["shared"])):
            raise UserError(
                f"{directory}: the shared parameters of step {step} are not those of its best "
                "step; heads of several steps want a frozen encoder (--optimizer.frozen ^shared/)"
            )
        for task, best in steps.items():
            if best == step:
                heads[task] = jax.tree.map(np.asarray, params["heads"][task])
    return heads, steps
