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


class Transfer(NamedTuple):
    """What the encoder of one task, as it is, is worth to the head of another.

    Attributes:
      names: of T tasks.
      metrics: the main metric of each.
      lower_is_better: of each.
      values: ``[T, T]``, of a row's encoder on a column's test split, over seeds; those of a task
        itself are of its own model. None where runs diverged or are not possible.
      changes: the same less the column's own model; None on the diagonal.
      runs: that this took.
      seconds: of their steps.
    """

    names: tuple[str, ...]
    metrics: tuple[str, ...]
    lower_is_better: tuple[bool, ...]
    values: tuple[tuple[Interval | None, ...], ...]
    changes: tuple[tuple[Difference | None, ...], ...]
    runs: int
    seconds: float


class CheckedGrouping(NamedTuple):
    """How good a grouping really is: one model a group, each with its tasks' share of tokens.

    Attributes:
      name: 'recommended', by gradients; 'all together'; 'each alone'; 'random'.
      groupings: the names of tasks by group; several for 'random'.
      gain: the mean relative gain over each alone, a share; None for that, and where runs diverged.
      lead: the mean relative gain of the recommended one over this; None for itself.
    """

    name: str
    groupings: tuple[tuple[tuple[str, ...], ...], ...]
    gain: Interval | None
    lead: Interval | None


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
      transfer: None where it was not asked for.
      checked: groupings whose runs were made, if that was asked for.
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
    transfer: Transfer | None
    checked: tuple[CheckedGrouping, ...]
