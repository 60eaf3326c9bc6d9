"""Where metrics go besides `metrics.jsonl`: TensorBoard, Weights & Biases, MLflow, or your own."""

import importlib
import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mtljax.errors import UserError, reason_of
from mtljax.presets import Config, flatten
from mtljax.tasks import Task, suggestion

PROJECT = "mtljax"
"""The project, or experiment, under which a service lists runs where its own settings name none."""


class MetricsWriter(Protocol):
    """What gets the lines of `metrics.jsonl` as they are written."""

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Take the numbers of a line.

        Args:
          step: steps done.
          split: 'train' or 'validation'.
          values: by name, such as ``loss/TASK`` or ``TASK/accuracy``; all are finite.
        """
        ...

    def close(self) -> None:
        """Send what is not sent yet; the run has ended, or stopped."""
        ...


class LoggedRun(NamedTuple):
    """The run whose metrics are written.

    Attributes:
      directory: of the run.
      config: its configuration.
      tasks: its tasks.
      step: after which it goes on; -1 if it begins. Lines after it may have been written before.
    """

    directory: Path
    config: Config
    tasks: tuple[Task, ...]
    step: int


MakeWriter = Callable[[LoggedRun], MetricsWriter]
LogTo = Sequence[str | MakeWriter]
"""Names in `WRITERS`, and functions that make a writer of one's own."""


class _Events:
    """Event files of TensorBoard, in `tensorboard/` of the run."""

    def __init__(self, run: LoggedRun) -> None:
        from tensorboardX import SummaryWriter

        place = str(run.directory / "tensorboard")
        self._board = SummaryWriter(place, purge_step=run.step + 1)

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._board.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        self._board.close()


class _WeightsAndBiases:
    """A run of Weights & Biases, whose id is kept in `wandb/` so that a resumed one goes on."""

    def __init__(self, run: LoggedRun) -> None:
        wandb: Any = importlib.import_module("wandb")
        self._run = wandb.init(
            project=PROJECT,
            dir=str(run.directory),
            id=_kept_id(run, "wandb"),
            name=run.directory.name,
            config=_settings(run),
            resume="allow",
        )

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        self._run.log({f"{split}/{name}": value for name, value in values.items()}, step=step)

    def close(self) -> None:
        self._run.finish()


class _MLflow:
    """A run of the tracking server that MLflow's own settings name."""

    def __init__(self, run: LoggedRun) -> None:
        mlflow: Any = importlib.import_module("mlflow")
        self._entities = importlib.import_module("mlflow.entities")
        self._client = mlflow.MlflowClient()
        experiment = self._client.get_experiment_by_name(PROJECT)
        place = experiment.experiment_id if experiment else self._client.create_experiment(PROJECT)
        tags = {"mtljax.run": _kept_id(run, "mlflow")}
        found = self._client.search_runs([place], f"tags.`mtljax.run` = '{tags['mtljax.run']}'")
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, "RUNNING")
            return
        made = self._client.create_run(place, run_name=run.directory.name, tags=tags)
        self._id = made.info.run_id
        param = self._entities.Param
        settings = [param(name, str(value)) for name, value in _settings(run).items()]
        for begin in range(0, len(settings), 100):  # as many as a call may have
            self._client.log_batch(self._id, params=settings[begin : begin + 100])

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        now, metric = int(1000 * time.time()), self._entities.Metric
        lines = [metric(f"{split}/{name}", value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=lines)

    def close(self) -> None:
        self._client.set_terminated(self._id)


WRITERS: dict[str, tuple[str, MakeWriter]] = {
    "tensorboard": ("tensorboardX", _Events),
    "wandb": ("wandb", _WeightsAndBiases),
    "mlflow": ("mlflow", _MLflow),
}
"""By name, the package that a writer needs, and what makes it. Those of services are no extras:
they bring more packages than the rest together, and are there already where they are used."""


def check_writers(log_to: LogTo) -> None:
    """Check that metrics can be written there.

    Raises:
      UserError: for a name that is unknown, or whose package is not installed.
    """
    for name in log_to:
        if not isinstance(name, str):
            continue
        if name not in WRITERS:
            raise UserError(f"log_to {name!r}: unknown{suggestion(name, WRITERS)}")
        package, _ = WRITERS[name]
        try:
            importlib.import_module(package)
        except ImportError:
            raise UserError(f"log_to: {name} needs a package: pip install {package}") from None


def make_writers(log_to: LogTo, run: LoggedRun) -> list[MetricsWriter]:
    """Make the writers of a run.

    Raises:
      UserError: if one of those in `WRITERS` cannot begin.
    """
    made: list[MetricsWriter] = []
    for one in log_to:
        if not isinstance(one, str):
            made.append(one(run))
            continue
        try:
            made.append(WRITERS[one][1](run))
        except Exception as error:  # noqa: BLE001 - whatever a client of some service raises
            raise UserError(f"log_to: {one} cannot begin ({reason_of(error)})") from None
    return made


def write_to_all(
    writers: list[MetricsWriter],
    step: int,
    split: str,
    values: Mapping[str, Any],
    say: Callable[[str], None],
) -> None:
    """Give a line to every writer; one that fails is told and left out from then on.

    Args:
      writers: of the run; the list is changed.
      step: steps done.
      split: 'train' or 'validation'.
      values: by name; those that are no finite numbers are left out.
      say: is called with a line on a writer that fails.
    """
    numbers = {name: value for name, value in values.items() if _is_number(value)}
    for writer in list(writers):
        try:
            writer.write(step, split, numbers)
        except Exception as error:  # noqa: BLE001 - a service that fails does not end a run
            writers.remove(writer)
            name = type(writer).__name__.strip("_")
            say(f"warning: {name} gets no more metrics ({reason_of(error)})")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _settings(run: LoggedRun) -> dict[str, Any]:
    kinds = {f"tasks.{task.name}": task.kind for task in run.tasks}
    return {name: value for name, value in flatten(run.config).items()} | kinds


def _kept_id(run: LoggedRun, service: str) -> str:
    """The id of a run with a service, drawn when the run begins."""
    path = run.directory / service / "id"
    if run.step >= 0 and path.is_file():
        return path.read_text(encoding="ascii")
    path.parent.mkdir(exist_ok=True)
    drawn = uuid.uuid4().hex[:16]
    path.write_text(drawn, encoding="ascii")
    return drawn
