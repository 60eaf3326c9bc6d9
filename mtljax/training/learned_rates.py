"""The rates of a run's input groups, learned from the metrics that are read anyway."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtljax import mixtures
from mtljax.data import MultitaskData
from mtljax.data.batching.learned_groups import LearnedGroups
from mtljax.data.batching.mixture import MixtureSettings, inclusion
from mtljax.errors import UserError
from mtljax.modules.structures import STRUCTURES
from mtljax.presets import Config
from mtljax.step.state import StepMetrics
from mtljax.step.strategy import APPROXIMATE
from mtljax.tasks import suggestion
from mtljax.training.evaluation import Values
from mtljax.training.persistence import run_directory

_SPARE = 8  # batches that are made, or on their way, beyond those made ahead

_TARGETED = ("doge", "elimination", "exp3")
_NOISY = ("balanced_pike", "pike")
_GRADIENTS = frozenset({"gramian", "gramian_diagonal", "variances"})


def is_learned(config: Config) -> bool:
    """Whether rates are learned at all."""
    return config.mixture.schedule != "off"


def reads_gradients(settings: MixtureSettings) -> bool:
    """Whether the schedule reads gradients of all groups, in a step that reads all of them."""
    return settings.schedule in (*_NOISY, "doge", "elimination")


def with_measured_steps(config: Config) -> tuple[bool, int]:
    """Whether steps of a run are measured, and from one to the next how many there are."""
    gradients = config.gradients
    if reads_gradients(config.mixture) and not gradients.telemetry:
        return True, config.mixture.every
    return gradients.telemetry, gradients.telemetry_every


def check_mixture(config: Config, data: MultitaskData, steps: int) -> None:
    """Check that the rates of a run can be learned as its configuration says.

    Args:
      config: of the run.
      data: of the run.
      steps: of the whole run.

    Raises:
      UserError: in one line, what is wrong.
    """
    settings, groups = config.mixture, data.groups
    if not is_learned(config):
        for name in ("target", "reference"):
            if getattr(settings, name):
                raise UserError(f"mixture.{name}: no rates are learned; name a mixture.schedule")
        return
    option = f"mixture.schedule {settings.schedule!r}"
    if len(groups) < 2:
        only = ", ".join(repr(group.name) for group in groups)
        raise UserError(f"{option}: there is one input group, {only}, for all tasks")
    if settings.subset >= len(groups):
        raise UserError(
            f"mixture.subset {settings.subset}: with a schedule a step reads fewer than all "
            f"{len(groups)} input groups"
        )
    if len(data.stages) > 1:
        raise UserError(f"{option}: not with rates that change by themselves over the run")
    if config.batch.workers:
        raise UserError(f"{option}: not with batch.workers, which would not hear of new rates")
    if config.gradients.strategy in APPROXIMATE and reads_gradients(settings):
        raise UserError(
            f"{option}: reads gradients, which gradients.strategy "
            f"{config.gradients.strategy!r} does not take"
        )
    if reads_gradients(settings) and settings.every % with_measured_steps(config)[1]:
        raise UserError(
            f"mixture.every {settings.every}: must be a multiple of gradients.telemetry_every "
            f"({config.gradients.telemetry_every})"
        )
    if settings.schedule in _NOISY:
        for name, count in data.stages[0].items():
            if count < 2:
                raise UserError(
                    f"{option}: needs two rows of every input group, {name!r} has {count} in a "
                    "step; make batch.tokens larger"
                )
    _check_target(settings, data)
    if (settings.schedule == "doremi") != bool(settings.reference):
        why = "needs mixture.reference, the directory of a finished run of the same tasks"
        why = why if settings.schedule == "doremi" else "reads no mixture.reference"
        raise UserError(f"{option}: {why}")
    output = STRUCTURES[config.sharing.structure].output
    if settings.schedule == "doremi" and output is not None and output.loss is not None:
        raise UserError(
            f"{option}: not with sharing.structure {config.sharing.structure!r}, whose losses in "
            "training have more in them than those of the reference on validation"
        )
    if settings.reference:
        _reference_losses(settings.reference, [task.name for task in data.layout.tasks])
    # The least that a floor must be for a group to be read at all, at the lowest rate.
    least = len(groups) / settings.groups_in_step(len(groups)) / max(steps, 1)
    if settings.floor < least <= 1:
        raise UserError(
            f"mixture.floor {settings.floor:g}: an input group could be read in none of {steps} "
            f"steps, and so starve; make it {math.ceil(1e4 * least) / 1e4:g} or more"
        )


def _check_target(settings: MixtureSettings, data: MultitaskData) -> None:
    target = settings.target
    if target and settings.schedule not in _TARGETED:
        raise UserError(
            f"mixture.target: schedule {settings.schedule!r} learns rates for all groups"
        )
    tasks = {task.name: group.name for group in data.groups for task in group.tasks}
    if target and target not in tasks:
        raise UserError(f"mixture.target {target!r}: unknown{suggestion(target, tasks)}")
    if settings.schedule != "exp3":
        return
    of = {tasks[target]} if target else {group.name for group in data.groups}
    if not any(len(data.examples[name].get("validation", ())) for name in of):
        whose = f"task {target!r} has" if target else "no task has"
        end = "no validation data" if target else "validation data"
        raise UserError(f"mixture.schedule 'exp3': {whose} {end}")


def _reference_losses(directory: str, tasks: Sequence[str]) -> np.ndarray:
    """Losses ``[T]`` on validation of the run of reference, at its best checkpoint."""
    found = run_directory.read_summary(Path(directory))
    if found is None:
        raise UserError(f"mixture.reference {directory}: holds no finished run")
    losses = [found["tasks"].get(name, {}).get("validation", {}).get("loss") for name in tasks]
    if None in losses:
        name = tasks[losses.index(None)]
        raise UserError(f"mixture.reference {directory}: has no validation loss of task {name!r}")
    return np.array(losses, np.float64)


def _made(
    settings: MixtureSettings, target: int | None, reference: np.ndarray
) -> mixtures.Schedule:
    options: dict[str, Any] = {"floor": settings.floor}
    if settings.schedule != "elimination":
        options["step_size"] = settings.step_size
    if settings.schedule in _TARGETED:
        options["target"] = target
    if settings.schedule == "doremi":
        options["reference_losses"] = reference
    return mixtures.SCHEDULES[settings.schedule](**options)


class LearnedRates:
    """What learns the rates of a run, and the schedule of groups that follows them.

    The signals since the last update are summed here, from metrics that were read anyway: of every
    step, of measured ones, and of evaluations. Rates that were learned after step `n` hold from the
    first step on whose batch cannot have been made yet, `lag` steps later, so that batches depend
    on the seed and the metrics alone, however early they are made.

    Attributes:
      groups: the schedule of groups.
      lag: steps from the one after which rates are learned to the first that follows them.
    """

    def __init__(self, config: Config, data: MultitaskData) -> None:
        """Begin with the rates that the mixture has by its other settings.

        Args:
          config: of the run, checked by `check_mixture`.
          data: of the run.

        Raises:
          UserError: if the run of reference cannot be read any more.
        """
        settings, rows = config.mixture, data.stages[0]
        self._settings = settings
        self._names = [group.name for group in data.groups]
        tasks = [task for group in data.groups for task in group.tasks]
        self._tasks = {task.name: index for index, task in enumerate(data.layout.tasks)}
        self._weights = np.zeros((len(self._names), len(tasks)))
        self._member = np.zeros((len(self._names), len(tasks)))
        for index, group in enumerate(data.groups):
            for task in group.tasks:
                self._weights[index, self._tasks[task.name]] = task.weight
                self._member[index, self._tasks[task.name]] = 1
        of_target = [settings.target in [t.name for t in group.tasks] for group in data.groups]
        target = of_target.index(True) if settings.target else None
        reference = np.zeros(len(self._names))
        if settings.reference:
            reference = self._weights @ _reference_losses(settings.reference, list(self._tasks))
        self._schedule = _made(settings, target, reference)
        given = data.rates()
        self._state = self._schedule.init(len(rows), [given[name] for name in self._names])
        self._count = settings.groups_in_step(len(self._names))
        whole = settings.every if reads_gradients(settings) else 0
        self.groups = LearnedGroups(rows, self._shares(), [config.seed], whole)
        self.lag = max(config.batch.ahead, 1) + _SPARE
        # Rows of each group over those of a step, and over those of its first half.
        counts = np.array([rows[name] for name in self._names], np.float64)
        self._rows_share = counts / (counts.mean() * max(self._count, 1))
        first = np.ceil(counts / 2)
        self._half_share = first / np.maximum(counts - first, 1)
        self._clear()

    def _clear(self) -> None:
        self._losses, self._present = np.zeros((2, self._weights.shape[1]))

    def _shares(self) -> dict[str, float]:
        rates = dict(zip(self._names, self._state.rates.tolist(), strict=True))
        return inclusion(rates, self._count)

    def half(self, number: int, batch: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The first, third, ... rows of a step's batch, where the noise of gradients is measured.

        Args:
          number: of the step, from 1 on.
          batch: on the devices; it shares all arrays but the weights of targets.
        """
        if "variances" not in self._schedule.requires or number % self._settings.every:
            return None

        def kept(weights: Any) -> Any:
            odd = np.arange(weights.shape[0]) % 2 == 0
            return weights * odd.reshape(-1, *(1,) * (weights.ndim - 1)).astype(weights.dtype)

        return {
            name: {**rows, "weights": jax.tree.map(kept, rows["weights"])}
            for name, rows in batch.items()
        }

    def read(self, number: int, metrics: StepMetrics) -> None:
        """Add the metrics of a step, which have been read; learn where an update is due.

        Args:
          number: of the step, from 1 on.
          metrics: of the step.
        """
        values = jax.device_get(metrics)
        counted = (values.present > 0) & (values.not_finite == 0) & np.isfinite(values.losses)
        self._losses += np.where(counted, values.losses, 0)
        self._present += counted
        if "validation_losses" in self._schedule.requires or number % self._settings.every:
            return
        means = self._losses / np.maximum(self._present, 1)
        signals = {"losses": self._weights @ means}
        mask = self._member @ (self._present > 0) > 0
        if self._schedule.requires & _GRADIENTS:
            signals |= self._of_gradients(values)
            mask &= self._member @ counted > 0
        self._learn(number, signals, mask)

    def _of_gradients(self, values: StepMetrics) -> dict[str, np.ndarray]:
        assert values.gradients is not None
        cosines, norms = (np.asarray(part, np.float64) for part in values.gradients)
        present = values.present > 0
        gramian = np.where(np.outer(present, present), cosines * np.outer(norms, norms), 0)
        signals = {"gramian": self._member @ gramian @ self._member.T}
        if values.noise is None:
            return signals
        # The tasks' own weights are in their gradients. The difference to the gradient of h of n
        # rows has (n - h) / h times the variance of the gradient of all n.
        noise = self._member @ np.asarray(values.noise, np.float64) @ self._member.T
        variances = np.maximum(np.diagonal(noise), 0) * self._half_share
        squares = np.maximum(np.diagonal(signals["gramian"]) - variances, 0)
        variances = variances * self._rows_share
        return signals | {"gramian_diagonal": squares, "variances": variances}

    def evaluated(self, number: int, values: Values) -> None:
        """Learn from an evaluation on validation, where the schedule does.

        Args:
          number: of the step after which it was.
          values: by task and metric.
        """
        if "validation_losses" not in self._schedule.requires:
            return
        losses, found = np.zeros((2, len(self._tasks)))
        for name, metrics in values.items():
            losses[self._tasks[name]], found[self._tasks[name]] = metrics["loss"], 1
        mask = self._member @ found > 0
        self._learn(number, {"validation_losses": self._weights @ losses}, mask)

    def _learn(self, number: int, signals: Mapping[str, np.ndarray], mask: np.ndarray) -> None:
        _, self._state = self._schedule.update(signals, self._state, mask=mask)
        self.groups.learn(number + self.lag, self._shares())
        self._clear()

    def logged(self) -> dict[str, float]:
        """The newest rates, as ``rate/TASK``: that of the task's input group."""
        rates = self._member.T @ self._state.rates
        return {f"rate/{name}": float(rates[index]) for name, index in self._tasks.items()}

    def to_json(self, step: int) -> dict[str, Any]:
        """What a checkpoint after so many steps keeps."""
        return {
            "groups": self.groups.state(step),
            "state": [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(self._state)],
            "losses": self._losses.tolist(),
            "present": self._present.tolist(),
        }

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `to_json` returned."""
        leaves, structure = jax.tree.flatten(self._state)
        self._state = jax.tree.unflatten(
            structure,
            [np.asarray(new, old.dtype) for new, old in zip(saved["state"], leaves, strict=True)],
        )
        self.groups.resume(saved["groups"])
        self._losses, self._present = (
            np.asarray(saved[name], np.float64) for name in ("losses", "present")
        )
