"""Runs that start from another run: its tokenizer, its encoder, and heads of the same name."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data import MultitaskData, Tokenizer
from mtljax.errors import UserError
from mtljax.kinds import Output
from mtljax.modules.network import bidirectional
from mtljax.modules.shared_heads import (
    SHARED_HEADS,
    encoder_params,
    shared_heads,
    with_shared_heads,
)
from mtljax.modules.structures import PRIVATE, structure_of
from mtljax.presets import ENCODER_SHAPE, Config
from mtljax.step import TrainState
from mtljax.tasks import Task, loss_name, tasks_by_head
from mtljax.training.begun_structure import begun_structure, without_added
from mtljax.training.model import Model, attention_of, initial_params
from mtljax.training.multihost import is_writer
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.checkpoints import checkpoint_steps
from mtljax.training.persistence.run_directory import RunFiles
from mtljax.training.persistence.start_record import parameters_digest, write_start
from mtljax.training.restore import restore_params, restored_model

Say = Callable[[str], None]


class StartingPoint(NamedTuple):
    """The parameters that a run starts from in place of those that are drawn.

    Attributes:
      shared: a tree of NumPy arrays like the shared parameters; heads among them that are not there
        are drawn.
      heads: by task, such a tree of its head; tasks that are not there keep the head that is drawn.
      about: what `start.json` says of them, as JSON.
      private: by task, such a tree of what a structure of sharing gives it of its own.
    """

    shared: Any
    heads: Mapping[str, Any]
    about: Mapping[str, Any]
    private: Mapping[str, Any] = MappingProxyType({})


class Given(NamedTuple):
    """A start that is no single run.

    Attributes:
      tokenizer: of the run.
      outputs: what tasks predict, by name, whose classes keep their order.
      parameters: from the model and its data to what it starts from; None to draw them.
      data: of the run, where it was read already.
    """

    tokenizer: Tokenizer
    outputs: Mapping[str, Output]
    parameters: Callable[[Model, MultitaskData], StartingPoint] | None = None
    data: MultitaskData | None = None


def read_as_there(config: Config, tasks: Sequence[Task], directory: Path) -> Config:
    """A configuration whose LSTM reads in the direction of the run that it starts from.

    What is 'auto' depends on the tasks of a run, and its origin may have had others.

    Args:
      config: the configuration.
      tasks: of the run to be trained.
      directory: of that run; what it holds stays as it was begun.

    Raises:
      UserError: a task writes text, and the encoder there reads in both directions.
    """
    encoder, name = config.encoder, config.encoder.from_run
    if not name or encoder.kind != "lstm":
        return config
    if run_directory.holds_run(directory):
        begun = run_directory.read_config(directory).encoder
        as_begun = encoder.bidirectional == "auto" and begun.from_run == name
        return _in_direction(config, begun.bidirectional) if as_begun else config
    if encoder.bidirectional == "no" or not run_directory.holds_run(Path(name)):
        return config
    files = run_directory.read_run(Path(name))
    if files.config.encoder.kind != "lstm":
        return config
    by_tasks = _in_direction(config, "auto")
    writers = [t for t in tasks if attention_of(by_tasks, (t,))(t) in ("causal", "prefix")]
    if _both_ways(files) and writers:
        kind = writers[0].kind.replace("_", " ")
        raise UserError(
            f"encoder.from_run {name}: reads in both directions, and the {kind} "
            f"{writers[0].name!r} needs an LSTM that reads from left to right"
        )
    one_way = encoder.bidirectional == "auto" and not writers and not _both_ways(files)
    return _in_direction(config, "no") if one_way else config


def _in_direction(config: Config, bidirectional: Any) -> Config:
    encoder = dataclasses.replace(config.encoder, bidirectional=bidirectional)
    return dataclasses.replace(config, encoder=encoder)


def _both_ways(files: RunFiles) -> bool:
    groups = files.layout.groups
    return bidirectional(files.config.encoder, {group.name: group.attention for group in groups})


def origin_of(config: Config, directory: Path) -> RunFiles | None:
    """The files of the run that a configuration starts from.

    Args:
      config: the configuration.
      directory: of the run to be trained; with a checkpoint it needs its origin no more.

    Returns:
      None where it starts from no run, or has begun.

    Raises:
      UserError: there is no such run, or its encoder, structure of sharing or tokenizer is not the
        one asked for.
    """
    name = config.encoder.from_run
    if not name or checkpoint_steps(directory / run_directory.CHECKPOINTS):
        return None
    if not run_directory.holds_run(Path(name)):
        raise UserError(f"encoder.from_run {name}: no run there")
    files = run_directory.read_run(Path(name))
    pairs = [
        (f"encoder.{field}", getattr(files.config.encoder, field), getattr(config.encoder, field))
        for field in ENCODER_SHAPE
        if (config.encoder.kind, field) != ("lstm", "bidirectional")
    ]
    if config.encoder.kind == "lstm" and config.encoder.bidirectional != "auto":
        reads = "yes" if _both_ways(files) else "no"
        pairs.append(("encoder.bidirectional", reads, config.encoder.bidirectional))
    if files.config.sharing.structure != "hard":  # else what a structure adds begins anew
        pairs += [
            (f"sharing.{field}", getattr(files.config.sharing, field), asked)
            for field in ("structure", *structure_of(files.config.sharing).fields)
            for asked in [getattr(config.sharing, field)]
        ]
    pairs += [
        (f"tokenizer.{field.name}", getattr(files.config.tokenizer, field.name), asked)
        for field in dataclasses.fields(config.tokenizer)
        for asked in [getattr(config.tokenizer, field.name)]
    ]
    for field, there, asked in pairs:
        if there != asked:
            raise UserError(f"encoder.from_run {name}: {field} is {there!r} there, not {asked!r}")
    return files


def tokenizer_of(origin: RunFiles | Given | None, config: Config) -> Any:
    """The tokenizer of the run that a configuration starts from, else how to train one."""
    return config.tokenizer if origin is None else origin.tokenizer


def starting_point(
    config: Config, model: Model, data: MultitaskData, origin: RunFiles | Given | None, say: Say
) -> StartingPoint | None:
    """Read the parameters of the run that a configuration starts from.

    Args:
      config: the configuration.
      model: its model.
      data: its data.
      origin: from `origin_of`, or what is given in its place.
      say: is called with a line about what is taken and what is drawn, and about a damaged
        checkpoint of the origin, in whose place another is taken.

    Returns:
      None where it starts from no run.

    Raises:
      UserError: a parameter or the classes of a head are others there, or nothing can be read.
    """
    if origin is None:
        return None
    if isinstance(origin, Given):
        return None if origin.parameters is None else origin.parameters(model, data)
    directory = Path(config.encoder.from_run)
    where = f"encoder.from_run {directory}"
    if data.tokenizer.fingerprint != origin.tokenizer.fingerprint:
        raise UserError(f"{where}: its tokenizer is another than that of this run")
    there, restored = restored_model(directory, origin.config, origin.layout)
    wanted = jax.eval_shape(lambda: initial_params(model))
    names = [task.name for task in model.tasks]
    begun = functools.partial(begun_structure, config.sharing, config.encoder, tasks=names)
    shapes = jax.eval_shape(begun, restored)
    taken = [name for name in names if config.heads.from_run and name in shapes["heads"]]
    encoders = [encoder_params(tree["shared"]) for tree in (shapes, wanted)]
    # What a structure adds to an encoder or to a head begins anew.
    check_shapes(where, "shared", encoders[0], without_added(*encoders))
    for name in taken:
        ours, theirs = (m.layout.outputs[name] for m in (model, there))
        one, other = (next(t for t in m.tasks if t.name == name) for m in (model, there))
        if one.kind != other.kind or ours.classes != theirs.classes:
            what = "is of another kind" if one.kind != other.kind else "has other classes"
            raise UserError(f"{where}: task {name!r} {what} there")
        if (one.head, one.own_head) != (other.head, other.own_head):
            raise UserError(f"{where}: task {name!r} has another 'head' or 'own_head' there")
        old, new = (tree["heads"][name] for tree in (shapes, wanted))
        check_shapes(where, f"heads/{name}", old, without_added(old, new))
        # A head was trained on what the task's own parameters make of the text.
        own = (tree.get(PRIVATE, {}).get(name, {}) for tree in (shapes, wanted))
        if PRIVATE in shapes:
            check_shapes(where, f"{PRIVATE}/{name}", *own)
    # A head that tasks have together is taken by its own name, whatever tasks have it here.
    by_head = tasks_by_head(model.tasks), tasks_by_head(there.tasks)
    together = [name for name in by_head[0] if config.heads.from_run and name in by_head[1]]
    for name in together:
        one, other = (tasks[name][0] for tasks in by_head)
        classes = model.layout.outputs[one.name].classes, there.layout.outputs[other.name].classes
        if (one.kind, loss_name(one)) != (other.kind, loss_name(other)) or classes[0] != classes[1]:
            raise UserError(f"{where}: head {name!r} is of another kind, loss or classes there")
        trees = (shared_heads(tree["shared"])[name] for tree in (shapes, wanted))
        check_shapes(where, f"shared/{SHARED_HEADS}/{name}", *trees)
    step, params = restore_params(
        directory / run_directory.CHECKPOINTS,
        restored,
        averaged=origin.config.optimizer.average > 0,
        warn=say,
    )
    say(_about(directory, step, params, names, taken))
    params = jax.tree.map(np.asarray, begun(params))
    about = {"from": "run", "directory": os.path.abspath(directory), "step": step}
    shared = with_shared_heads(
        encoder_params(params["shared"]),
        {name: head for name, head in shared_heads(params["shared"]).items() if name in together},
    )
    heads = {name: params["heads"][name] for name in taken}
    # Copies of layers that all tasks had are for all; what was private there comes with its head.
    own = taken if PRIVATE in restored else names
    private = {name: params[PRIVATE][name] for name in own} if PRIVATE in params else {}
    return StartingPoint(shared, heads, about, private)


def started(state: TrainState, start: StartingPoint | None) -> TrainState:
    """A first state with the parameters of a starting point, on the devices where they were."""
    if start is None:
        return state

    def put(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jax.device_put(a.astype(b.dtype), b.sharding), new, old)

    def replaced(params: Any) -> Any:
        heads = dict(params["heads"])
        for name, head in start.heads.items():
            heads[name] = heads[name] | put(head, without_added(head, heads[name]))
        drawn = shared_heads(params["shared"])
        together = {
            name: put(head, drawn[name]) for name, head in shared_heads(start.shared).items()
        }
        read, encoder = encoder_params(start.shared), encoder_params(params["shared"])
        encoder |= put(read, {name: encoder[name] for name in read})
        shared = with_shared_heads(encoder, {**drawn, **together})
        new = {"shared": shared, "heads": heads}
        if start.private:
            own = {name: put(tree, params[PRIVATE][name]) for name, tree in start.private.items()}
            new[PRIVATE] = {**params[PRIVATE], **own}
        return {**params, **new}

    # The state is donated to the step: the average may share no memory with the parameters.
    average = None if state.average is None else jax.tree.map(jnp.copy, replaced(state.average))
    return state._replace(params=replaced(state.params), average=average)


def record_start(
    directory: Path, config: Config, state: TrainState, start: StartingPoint | None
) -> None:
    """Write `start.json` of a run that begins from parameters that were trained before.

    All processes must call it.

    Args:
      directory: of the run.
      config: of the run.
      state: its first state.
      start: what it starts from, if not from a pretrained model.

    Raises:
      UserError: if it cannot be written.
    """
    if start is not None:
        about = start.about
    elif config.encoder.pretrained:
        about = {"from": "pretrained", "directory": os.path.abspath(config.encoder.pretrained)}
    else:
        return
    digest = parameters_digest(encoder_params(state.params["shared"]))
    if is_writer():
        write_start(directory, {**about, "shared": digest})


def check_shapes(where: str, what: str, there: Any, here: Any) -> None:
    """Check that two trees have parameters of the same paths and shapes.

    Args:
      where: begins the message.
      what: the part of the parameters that they are.
      there: a tree of arrays or of their shapes.
      here: another one, of the run that is begun.

    Raises:
      UserError: naming a parameter.
    """

    def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
        return {
            jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
            for path, leaf in jax.tree.leaves_with_path(tree)
        }

    before, now = shapes(there), shapes(here)
    for path in [*now, *before]:
        if before.get(path) != now.get(path):
            raise UserError(
                f"{where}: {what}/{path} has shape {before.get(path)} there, {now.get(path)} in "
                "this run"
            )


def _about(directory: Path, step: int, params: Any, names: list[str], taken: list[str]) -> str:
    size = sum(leaf.size for leaf in jax.tree.leaves(params["shared"]))
    drawn = [name for name in names if name not in taken]
    what = "heads and private parameters" if PRIVATE in params else "heads"
    heads = f" and the {what} of {', '.join(taken)}" if taken else ""
    rest = f"; drawn anew: the {what} of {', '.join(drawn)}" if drawn else ""
    left = [name for name in params["heads"] if name not in taken]
    rest += f"; left there: the {what} of {', '.join(left)}" if left else ""
    return f"from {directory}, step {step}: tokenizer, encoder ({size:,} parameters){heads}{rest}"
