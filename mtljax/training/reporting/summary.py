"""`summary.json`: what a finished run says of itself."""

from collections.abc import Mapping
from typing import Any

import jax

from mtljax.presets import Config
from mtljax.training.evaluation import Values
from mtljax.training.model import Model
from mtljax.training.reporting.metrics_window import Window
from mtljax.versions import versions


def summarize(
    config: Config,
    model: Model,
    window: Window,
    steps: int,
    best_step: int,
    validation: Values,
    test: Values,
    epochs: Mapping[str, float],
    skipped_rows: Mapping[str, Mapping[str, int]],
    skipped_targets: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """Return the summary of a run.

    ``wall_seconds`` is the time of the steps alone: compilation (``compile_seconds``), evaluation
    and checkpoints are apart. A run that was resumed speaks of its last part. ``skipped_rows`` is
    there only where malformed rows were left out: their number by data set and split; so is
    ``skipped_targets``, by task, for rows that a task could not use. ``epochs`` are passes over
    each task's training split.
    """
    seconds = window.seconds
    return {
        "steps": steps,
        "best_step": best_step,
        "seed": config.seed,
        "preset": config.preset,
        "weighting": config.weighting,
        "wall_seconds": round(seconds, 2),
        "compile_seconds": round(window.compile_seconds, 2),
        "tokens_per_second": round(window.tokens / seconds, 1) if window.tokens else None,
        "data_wait_share": round(window.waited / seconds, 5) if seconds else None,
        "real_token_share": round(window.tokens / window.positions, 4)
        if window.positions
        else None,
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "tasks": {
            task.name: {
                "validation": validation.get(task.name, {}),
                "test": test.get(task.name, {}),
            }
            for task in model.tasks
        },
        "epochs": {task: round(passes, 4) for task, passes in epochs.items()},
        **({"skipped_rows": skipped_rows} if skipped_rows else {}),
        **({"skipped_targets": skipped_targets} if skipped_targets else {}),
        "versions": versions(),
    }
