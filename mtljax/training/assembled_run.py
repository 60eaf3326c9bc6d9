"""A run made of parts of others, without a step: their encoder, and the heads of all."""

import dataclasses
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from mtljax.data import Group, Layout, MultitaskData, Tokenizer
from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.local_paths import check_place
from mtljax.modules.config import DecoderConfig
from mtljax.modules.shared_heads import encoder_params, shared_heads
from mtljax.presets import ENCODER_SHAPE, Config
from mtljax.tasks import Task
from mtljax.training.loop import train_in_steps
from mtljax.training.model import Model, initial_params
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.checkpoints import checkpoint_steps
from mtljax.training.persistence.remote_run import run_to_read
from mtljax.training.restore import restore_params, restored_model
from mtljax.training.starting_point import Given, StartingPoint, check_shapes

_DRAWN = "dropout"  # does nothing where nothing is trained

_ENCODER = tuple(f"encoder.{name}" for name in ENCODER_SHAPE)
_HEADS = (
    *("heads.pooling", "heads.hidden", "heads.tag_hidden", "heads.lookahead"),
    *(f"decoder.{f.name}" for f in dataclasses.fields(DecoderConfig) if f.name != _DRAWN),
    "batch.row_length",
)
"""What decides, with the encoder's shape, how a model reads and answers."""


class Part(NamedTuple):
    """A run, of which another is made.

    Attributes:
      directory: of the run.
      config: of the run.
      tasks: of the run.
      tokenizer: of the run.
      layout: of its data.
      params: those of its best checkpoint, NumPy arrays.
      step: of that checkpoint.
    """

    directory: Path
    config: Config
    tasks: tuple[Task, ...]
    tokenizer: Tokenizer
    layout: Layout
    params: Any
    step: int

    def about(self) -> dict[str, Any]:
        """What `start.json` says of it."""
        return {"directory": os.path.abspath(self.directory), "step": self.step}


def read_part(path: str | Path, say: Callable[[str], None]) -> Part:
    """Read a run that is to be a part of another.

    Args:
      path: of the run; of another scheme, a copy here is read.
      say: is called with one line about what is damaged.

    Raises:
      UserError: it cannot be read, or has parameters besides those of one encoder and of heads.
    """
    directory = run_to_read(path)
    files = run_directory.read_run(directory, say)
    _, shapes = restored_model(directory, files.config, files.layout)
    more = sorted(set(shapes) - {"shared", "heads"})
    if more:
        raise UserError(f"run {directory}: has {more[0]} parameters, which no other run takes")
    step, params = restore_params(
        directory / run_directory.CHECKPOINTS,
        shapes,
        averaged=files.config.optimizer.average > 0,
        warn=say,
    )
    params = jax.tree.map(np.asarray, params)
    return Part(directory, files.config, files.tasks, files.tokenizer, files.layout, params, step)


def check_new(directory: Path) -> None:
    """Check that a directory holds no run with a checkpoint, and that one can be made there.

    Raises:
      UserError: if it does, or none can.
    """
    if checkpoint_steps(directory / run_directory.CHECKPOINTS):
        raise UserError(f"run directory {directory}: holds a run; choose another --run-dir")
    check_place("run directory", directory, directory=True)


def check_alike(first: Part, other: Part) -> None:
    """Check that the models of two runs read and answer in the same way.

    Raises:
      UserError: naming both, and a setting that differs.
    """
    where = f"runs {first.directory} and {other.directory}"
    if first.tokenizer.fingerprint != other.tokenizer.fingerprint:
        raise UserError(f"{where}: have other tokenizers")
    if first.config.sharing != other.config.sharing:
        raise UserError(f"{where}: their tasks share by other structures (sharing)")
    if found := difference(first.config, other.config, (*_ENCODER, *_HEADS)):
        name, one, two = found
        raise UserError(f"{where}: {name} is {one!r} and {two!r}")


def difference(
    first: Config, other: Config, names: Sequence[str] = _HEADS
) -> tuple[str, Any, Any] | None:
    """The first field that has heads read or answer otherwise, and both values; None if none does.

    Args:
      first: the configuration of a run.
      other: another one.
      names: the fields that are compared; by default all but the encoder's.
    """
    for name in names:
        section, field = name.split(".")
        one, two = (getattr(getattr(config, section), field) for config in (first, other))
        if one != two:
            return name, one, two
    return None


def joined_heads(parts: Sequence[Part]) -> dict[str, Any]:
    """By name, the heads that tasks of one run have together, of all runs.

    Raises:
      UserError: two runs have one of the same name.
    """
    found: dict[str, tuple[Path, Any]] = {}
    for part in parts:
        for name, head in shared_heads(part.params["shared"]).items():
            if name in found:
                raise UserError(f"head {name!r}: is in {found[name][0]} and in {part.directory}")
            found[name] = part.directory, head
    return {name: head for name, (_, head) in found.items()}


def assemble(
    parts: Sequence[Part],
    tasks: Sequence[Task],
    directory: Path,
    parameters: Callable[[Model, MultitaskData], StartingPoint],
    *,
    pretrained: str = "",
    data_dir: str | Path | None,
    cache_dir: str | Path | None,
    console: Console,
) -> dict[str, Any]:
    """Make a run of no step with the tasks of several.

    Rows of its batches are those that each input group has in its own run, so that texts meet the
    same others in them, and answers are the same to the last bit where parameters are.

    Args:
      parts: the runs, of which the first says how the model reads and answers.
      tasks: of the new run.
      directory: of the new run.
      parameters: from the model and its data to the parameters of the new run.
      pretrained: directory of the pretrained model that the encoder began as; empty for none.
      data_dir: directory of data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.
      console: where progress is shown.

    Returns:
      The content of `summary.json`.

    Raises:
      UserError: the parameters of a run are none of the new model.
    """
    first = parts[0].config
    groups = {task.name: group for part in parts for group, task in _grouped(part)}
    rows: dict[Hashable, int] = {}
    for part in parts:
        for group, task in _grouped(part):
            rows.setdefault(_reading(task, group), part.layout.shapes[group.name].rows)
    total = sum(rows.values())
    config = Config(
        preset=first.preset,
        steps=0,
        seed=first.seed,
        dtype=first.dtype,
        tokenizer=first.tokenizer,
        data=first.data,
        batch=dataclasses.replace(first.batch, tokens=total * first.batch.row_length, multiple=1),
        encoder=dataclasses.replace(first.encoder, from_run="", pretrained=pretrained, vectors=""),
        heads=dataclasses.replace(first.heads, from_run=False),
        decoder=first.decoder,
        sharing=first.sharing,
        optimizer=dataclasses.replace(Config().optimizer, average=0.0),
    )

    def checked(model: Model, data: MultitaskData) -> StartingPoint:
        wanted = jax.eval_shape(lambda: initial_params(model))
        for part in parts:
            where, encoder = f"run {part.directory}", encoder_params(part.params["shared"])
            check_shapes(where, "shared", encoder, encoder_params(wanted["shared"]))
            for name, head in part.params["heads"].items():
                check_shapes(where, f"heads/{name}", head, wanted["heads"][name])
        return parameters(model, data)

    outputs = {name: output for part in parts for name, output in part.layout.outputs.items()}
    return train_in_steps(
        config,
        [
            dataclasses.replace(
                task, rate=rows[_reading(task, groups[task.name])] / total, batch_size=None
            )
            for task in tasks
        ],
        directory,
        data_dir=data_dir,
        cache_dir=cache_dir,
        console=console,
        given=Given(parts[0].tokenizer, outputs, checked),
    )


def _grouped(part: Part) -> Iterator[tuple[Group, Task]]:
    return ((group, task) for group in part.layout.groups for task in group.tasks)


def _reading(task: Task, group: Group) -> Hashable:
    """What tasks of one input group have in common, as they are described."""
    answer = task.targets if KINDS[task.kind].writes == "answer" else None
    what = task.datasets, task.inputs, task.max_length, task.rename_words
    return (*what, group.attention, answer)
