"""`summary.json`: results, times and versions of a finished run."""

from typing import Any

import jax

from mtljax.training.evaluation import Values, score
from mtljax.training.reporting.metrics_window import MetricsWindow
from mtljax.training.session import Session
from mtljax.versions import versions


def summarize(
    session: Session,
    window: MetricsWindow,
    done: int,
    stopped: str,
    best_step: int,
    validation: Values,
    test: Values,
) -> dict[str, Any]:
    """Return the summary of a run.

    ``wall_seconds`` is the time of the steps alone: compilation (``compile_seconds``), evaluation
    and checkpoints are apart. A run that was resumed reports the times of its last part;
    ``account`` has the seconds of all its parts by what they went into.
    ``score`` is that of the best checkpoint, over the tasks of ``score_tasks``, which have a target
    in validation. ``epochs`` are passes over each task's training split. ``skipped_rows`` is there
    only where malformed rows were left out: their number by data set and split; so is
    ``skipped_targets``, by task, for rows that a task could not use. ``cut_texts`` is there only
    where texts are longer than what is read of them: by task and split the shares of texts and of
    words; and ``stopped`` only where the run ended before its last step: why.

    Args:
      session: of the run.
      window: with the times of the run.
      done: steps done.
      stopped: why there are no more; empty where all are done.
      best_step: step of the best checkpoint.
      validation: its values on validation, by task and metric.
      test: its values on test, by task and metric.

    Returns:
      The content of `summary.json`: values that JSON can hold, but for NaN and infinity.
    """
    config, data = session.config, session.data
    epochs = session.passes(done)
    seconds = window.seconds
    return {
        "steps": done,
        **({"stopped": stopped} if stopped else {}),
        "best_step": best_step,
        "seed": config.seed,
        "preset": config.preset,
        "weighting": config.weighting,
        "wall_seconds": round(seconds, 2),
        "compile_seconds": round(window.compile_seconds, 2),
        "tokens_per_second": round(window.tokens / seconds, 1) if window.tokens else None,
        "data_wait_share": round(window.waited / seconds, 5) if seconds else None,
        "account": {name: round(value, 3) for name, value in session.account.seconds().items()},
        "real_token_share": round(window.tokens / window.positions, 4)
        if window.positions
        else None,
        "score": score(session.model, validation),
        "score_tasks": [task.name for task in session.model.tasks if task.name in validation],
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "tasks": {
            task.name: {
                "validation": validation.get(task.name, {}),
                "test": test.get(task.name, {}),
            }
            for task in session.model.tasks
        },
        "epochs": {task: round(passes, 4) for task, passes in epochs.items()},
        **({"skipped_rows": data.skipped_rows} if data.skipped_rows else {}),
        **({"cut_texts": _rounded(data.cut_texts)} if data.cut_texts else {}),
        **({"skipped_targets": data.skipped_targets} if data.skipped_targets else {}),
        "versions": versions(),
    }


def _rounded(shares: Any) -> Any:
    if isinstance(shares, dict):
        return {name: _rounded(value) for name, value in shares.items()}
    return round(shares, 4)
