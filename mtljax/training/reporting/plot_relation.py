"""How tasks are related, as a run has learned it."""

from pathlib import Path

from mtljax.linear import draw_relation
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.atomic_write import replacing
from mtljax.training.persistence.start_record import read_start

NAME = "relation.png"


def draw_run_relation(run_dir: str | Path) -> Path | None:
    """Draw the correlations that a run learned as `relation.png` in its directory.

    Needs matplotlib, of the extra `plot`.

    Args:
      run_dir: the run directory.

    Returns:
      The path of the figure; None for a run that learned none: not solved with `relation`, and
      not trained with `regularizer.heads_relation`.

    Raises:
      UserError: if the directory holds no run, or a damaged one.
      ImportError: if matplotlib is not installed.
    """
    directory = Path(run_dir)
    run_directory.read_run(directory)
    learned = (read_start(directory) or {}).get("relation")
    if learned is None:
        learned = (run_directory.read_summary(directory) or {}).get("relation")
    if learned is None:
        return None
    figure = draw_relation(learned["correlation"], learned["tasks"])
    path = directory / NAME
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    return path
