"""The metrics of a run's tasks, each at the step that was that task's own best."""

from pathlib import Path

from mtljax.inference import load_run
from mtljax.studies.text_states import TextStates, text_states
from mtljax.training.best_heads import best_steps


def own_best_states(
    directory: Path,
    split: str = "test",
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> dict[str, TextStates]:
    """Measures the main metric of every task of a run, text by text, at the task's own best step.

    A task without a target in validation is measured at the best step of the run.

    Args:
      directory: of a run that was trained with `stopping.keep_each`.
      split: 'train', 'validation' or 'test'.
      data_dir: directory of the data sets in TFDS format.
      cache_dir: directory of the cache of tokenised data; None for no cache.

    Returns:
      By task; tasks without a target in the split are left out.

    Raises:
      UserError: no checkpoint says how good a task was, one cannot be read, or the data is missing
        or has changed.
    """
    run = load_run(directory)
    steps = best_steps(directory, [task.name for task in run.tasks])
    found: dict[str, TextStates] = {}
    for step in sorted({*steps.values(), run.step}):
        wanted = [task.name for task in run.tasks if steps.get(task.name, run.step) == step]
        if wanted:
            at_step = run if step == run.step else load_run(directory, step=step)
            measured = text_states(at_step, split, data_dir, cache_dir)
            found |= {name: measured[name] for name in wanted if name in measured}
    return found
