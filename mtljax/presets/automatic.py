"""The preset `auto`, with the data that it chooses by, as the command and Python ask for it."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mtljax.presets.auto import Choice, choose, reasons_of
from mtljax.presets.config import Config, DataConfig, check
from mtljax.presets.task_facts import task_facts
from mtljax.presets.yaml_config import ConfigLike, read_config
from mtljax.tasks import Task

AUTO = "auto"
"""The name of the preset."""

DEPENDED_ON = (
    *("encoder.kind", "encoder.layers", "encoder.bidirectional", "encoder.pretrained"),
    *("sharing.structure", "steps", "epochs", "evaluate_every", "tokenizer.kind"),
    *("batch.tokens", "batch.row_length"),
)
"""Fields that others are chosen by, where the user says them."""


class Automatic(NamedTuple):
    """What was chosen for tasks.

    Attributes:
      choice: the configuration and why.
      tasks: the tasks with losses that were chosen.
    """

    choice: Choice
    tasks: tuple[Task, ...]


def choose_for(
    tasks: Sequence[Task],
    data_dir: str | os.PathLike[str] | None,
    said: Mapping[str, Any],
    data: DataConfig,
    seed: int = 0,
) -> Automatic:
    """Choose a configuration by the data of tasks, of which some thousand rows are read.

    Args:
      tasks: what to learn.
      data_dir: directory of data sets in TFDS format.
      said: values of `DEPENDED_ON` that the user says.
      data: how data sets are read.
      seed: of the run.

    Raises:
      UserError: for a data set or feature that cannot be used.
    """
    facts = task_facts(tasks, data_dir, bad_rows=data.bad_rows, samples=data.samples, seed=seed)
    choice = choose(facts, said)
    chosen = tuple(
        dataclasses.replace(task, loss=choice.losses.get(task.name, task.loss)) for task in tasks
    )
    return Automatic(choice, chosen)


def read_automatic(
    config: ConfigLike, tasks: Sequence[Task], data_dir: str | os.PathLike[str] | None
) -> tuple[Config, tuple[Task, ...], tuple[str, ...]]:
    """Read a configuration from Python, as `read_config` does; the preset `auto` chooses by tasks.

    Args:
      config: see `read_config`; a `Config` is complete, whatever its preset.
      tasks: what to learn.
      data_dir: directory of data sets in TFDS format.

    Returns:
      The configuration, the tasks with losses that were chosen, and why, a line each.

    Raises:
      UserError: see `read_config` and `choose_for`.
    """
    chosen: list[Automatic] = []

    def by_tasks(said: Mapping[str, Any], begun: Config) -> Config:
        check(begun)
        chosen.append(choose_for(tasks, data_dir, said, begun.data, begun.seed))
        return chosen[0].choice.config

    complete = read_config(config, by_tasks)
    if not chosen:
        return complete, tuple(tasks), ()
    return complete, chosen[0].tasks, tuple(reasons_of(chosen[0].choice, complete))
