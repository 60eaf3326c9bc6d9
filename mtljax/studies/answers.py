"""What a study answers, as plain values."""

from typing import NamedTuple

from mtljax.studies.data_cards import DataCard
from mtljax.studies.intervals import Difference, Interval
from mtljax.studies.study import Budget


class TaskAnswer(NamedTuple):
    """Whether joint training helps one task.

    Attributes:
      metric: its main metric, on the test split.
      lower_is_better: whether a smaller value is better.
      alone: of its own models, over seeds.
      joint: of the joint models.
      difference: joint minus alone, paired by texts and seeds.
      verdict: 'helps', 'costs', or 'not told apart' where the interval does not exclude 0.
    """

    metric: str
    lower_is_better: bool
    alone: Interval
    joint: Interval
    difference: Difference
    verdict: str


class Groups(NamedTuple):
    """Which tasks the gradients of the joint runs would put together.

    Attributes:
      names: of the tasks, in the order of the other fields.
      affinity: ``[T, T]``, from a row onto a column: the share of a task's loss that a step of
        another takes away, relative to what its own step takes away; 0 on the diagonal.
      labels: the group of each task.
      gains: of each task in its group.
      errors: their standard errors over seeds, or over the lines of one run; None for one line.
    """

    names: tuple[str, ...]
    affinity: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    gains: tuple[float, ...]
    errors: tuple[float, ...] | None


class NewTask(NamedTuple):
    """What a task that is new to a model of the others learns from few samples.

    Attributes:
      metric: its main metric, on the test split.
      lower_is_better: whether a smaller value is better.
      samples: training texts, rising.
      values: by way (see `mtljax.studies.new_tasks.WAYS`), for each number of samples, over seeds,
        which also draw the samples; None where all runs diverged.
      gains: by way, but for 'alone', the same less 'alone'.
    """

    metric: str
    lower_is_better: bool
    samples: tuple[int, ...]
    values: dict[str, tuple[Interval | None, ...]]
    gains: dict[str, tuple[Difference | None, ...]]


class Answer(NamedTuple):
    """The answer of a study.

    Attributes:
      tasks: by name; those without a target in the test split, or whose runs all diverged, are not
        there.
      mean_gain: the mean relative gain over these tasks, a share; None where there is none.
      groups: None where gradients were not recorded.
      advice: what follows, in sentences.
      cards: the data, by task.
      budget: what each model of one task was given.
      seeds: the seeds that were used.
      steps: of each run.
      seconds: of the steps of all joint runs, and of all others.
      diverged: names of runs that did.
      directory: of the study.
      new_tasks: of those that were left out, by name.
    """

    tasks: dict[str, TaskAnswer]
    mean_gain: Interval | None
    groups: Groups | None
    advice: tuple[str, ...]
    cards: dict[str, DataCard]
    budget: Budget
    seeds: tuple[int, ...]
    steps: int
    seconds: tuple[float, float]
    diverged: tuple[str, ...]
    directory: str
    new_tasks: dict[str, NewTask]
