"""Tasks added to a trained run, or heads of it trained anew."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mtljax.errors import UserError
from mtljax.modules.shared_heads import (
    SHARED_HEADS,
    encoder_params,
    shared_heads,
    with_shared_heads,
)
from mtljax.modules.structures import structure_of
from mtljax.presets import Config, ConfigLike, StoppingConfig, differences, read_config
from mtljax.tasks import Task, TasksLike, join_tasks, parse_tasks, suggestion
from mtljax.training.assembled_run import Part, assemble, check_new, difference, read_part
from mtljax.training.best_heads import best_heads
from mtljax.training.loop import train_in_steps
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.start_record import parameters_digest, read_start
from mtljax.training.reporting.progress import notebook_console, notes_on
from mtljax.training.starting_point import StartingPoint

ADDED = ".added"
"""Directory in an extended run of the run that trained its new heads."""


def extension_config(begun: Config) -> Config:
    """How tasks are added to a run of this configuration, if nothing else is said.

    As the run was trained, but for what names its tasks, its parameters or its devices; rates
    are not learned, since a task that is added alone has none to share with.
    """
    plain, regularizer = Config(), begun.regularizer
    for name in ("l2", "l1", "group_lasso"):
        usual = getattr(plain.regularizer, f"{name}_on")
        if getattr(regularizer, f"{name}_on") != usual:
            regularizer = dataclasses.replace(regularizer, **{name: 0.0, f"{name}_on": usual})
    return dataclasses.replace(
        begun,
        weighting="equal",
        weighting_options={},
        optimizer=dataclasses.replace(
            begun.optimizer, solver="adamw", frozen=(), rates=(), unfreeze=0
        ),
        regularizer=dataclasses.replace(regularizer, heads_together=0.0, heads_relation=0.0),
        gradients=plain.gradients,
        mixture=dataclasses.replace(
            begun.mixture, subset=plain.mixture.subset, schedule="off", target="", reference=""
        ),
        stopping=StoppingConfig(patience=begun.stopping.patience, keep_each=True),
        parallel=plain.parallel,
    )


def extend_run(
    run: str | Path,
    run_dir: str | Path,
    tasks: TasksLike = (),
    config: ConfigLike | None = None,
    *,
    retrain: Sequence[str] = (),
    freeze: bool = True,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    console: Console | None = None,
    preempted: Callable[[int], bool] = lambda step: False,
) -> dict[str, Any]:
    """Add tasks to a trained run, or train heads of it anew, in a new run directory.

    With the encoder frozen the new heads alone are trained, on their own data, in `ADDED` of the
    new run, and each is taken from its own best step, where `stopping.keep_each` kept that. The new
    run has no steps, the encoder and the old heads as they were, and so every old answer to the
    last bit. Called again with the same arguments it continues, and ends as an uninterrupted call.

    Args:
      run: directory of the run; it is left as it is.
      run_dir: directory of the new run.
      tasks: to be added: what `mtljax.tasks.parse_tasks` reads.
      config: how they are trained; by default `extension_config` of the run's.
      retrain: names of tasks of the run, in place of tasks to be added: their heads are drawn, and
        trained alone.
      freeze: whether the encoder and the old heads stay as they are; else all tasks are trained
        together, from where the run ended.
      data_dir: directory of data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.
      console: where progress is shown.
      preempted: as for `mtljax.train`.

    Returns:
      The content of `summary.json` of the new run.

    Raises:
      UserError: there is no such run or task, a task has the name of one that is there, nothing is
        to be learned, heads would read or answer otherwise than those of the run, the run has
        another encoder than when the call was interrupted, or the new one was made with other
        steps; and as `mtljax.train`.
    """
    origin, directory = Path(run), Path(run_dir)
    console = console or notebook_console() or Console(quiet=True)
    files = run_directory.read_run(origin, notes_on(console))
    more = parse_tasks(tasks, Path.cwd()) if tasks else ()
    config = read_config(config or extension_config(files.config))
    encoder = dataclasses.replace(config.encoder, from_run=str(origin), pretrained="", vectors="")
    heads = dataclasses.replace(config.heads, from_run=not retrain)
    config = dataclasses.replace(config, encoder=encoder, heads=heads)
    learned = _learned(origin, files.tasks, more, retrain, freeze)
    if more and structure_of(files.config.sharing).of_all_tasks(files.config.sharing):
        raise UserError(
            f"{origin}: sharing.structure {files.config.sharing.structure!r}: what its tasks share "
            "has a part of each of them; none can be added"
        )
    union = join_tasks({str(origin): files.tasks, "the tasks to be added": more})
    options: dict[str, Any] = {"data_dir": data_dir, "cache_dir": cache_dir, "console": console}
    inner = directory / ADDED
    if freeze and run_directory.holds_run(directory) and not run_directory.holds_run(inner):
        raise UserError(f"run directory {directory}: holds another run; choose another --run-dir")
    if not freeze:
        return train_in_steps(config, union, directory, **options, preempted=preempted)
    _check_config(origin, files.config, config, directory)
    base = read_part(origin, notes_on(console))
    kept = [task for task in files.tasks if task.name not in retrain]
    patterns = _frozen(origin, kept, learned)
    optimizer = dataclasses.replace(config.optimizer, frozen=(*config.optimizer.frozen, *patterns))
    config = dataclasses.replace(config, optimizer=optimizer)
    _check_begun(base, inner)
    train_in_steps(config, learned, inner, **options, preempted=preempted)
    _check_begun(base, inner)  # the origin may be in training itself
    return _put_together(base, inner, union, directory, bool(retrain), options)


def _learned(
    origin: Path,
    there: Sequence[Task],
    more: Sequence[Task],
    retrain: Sequence[str],
    freeze: bool,
) -> tuple[Task, ...]:
    """The tasks whose heads are trained."""
    if bool(more) == bool(retrain):
        raise UserError("name either tasks to be added (--tasks) or tasks to --retrain")
    if not retrain:
        return tuple(more)
    if not freeze:
        raise UserError("--retrain: trains heads alone, with the encoder frozen")
    by_name = {task.name: task for task in there}
    for name in retrain:
        if name not in by_name:
            raise UserError(f"task {name!r}: unknown to {origin}{suggestion(name, by_name)}")
        head = by_name[name].head
        if head and any(t.head == head and t.name not in retrain for t in there):
            raise UserError(f"task {name!r}: its head {head!r} is that of other tasks too")
    return tuple(task for task in there if task.name in retrain)


def _check_config(origin: Path, begun: Config, config: Config, directory: Path) -> None:
    """Check that heads are to be trained as the new run will read them, and only once."""
    if found := difference(begun, config):
        name, there, asked = found
        raise UserError(
            f"{name}: is {there!r} in {origin}, whose answers stay as they are, not {asked!r}"
        )
    inner = directory / ADDED
    if run_directory.holds_run(directory) and run_directory.holds_run(inner):
        differing = differences(run_directory.read_config(inner), config)
        for name in ("steps", "epochs", "stopping.patience"):
            if name in differing:
                old, new = differing[name]
                raise UserError(
                    f"run directory {directory}: its heads were trained with {name} {old}, not "
                    f"{new}; choose another --run-dir"
                )


def _check_begun(base: Part, inner: Path) -> None:
    """Check that new heads were trained on the encoder and the heads that they are joined to."""
    start = read_start(inner)
    if start is None:
        return
    encoder = parameters_digest(encoder_params(base.params["shared"]))
    moved = shared_heads(base.params["shared"]) and start.get("step") != base.step
    if start["shared"] != encoder or moved:
        raise UserError(
            f"run {base.directory}: its best step is {base.step} now, and heads in {inner} were "
            f"begun on that of step {start.get('step')}; choose another --run-dir"
        )


def _frozen(origin: Path, there: Sequence[Task], learned: Sequence[Task]) -> list[str]:
    """Patterns of what the new heads read and do not train."""
    known = {task.head for task in there if task.head is not None}
    for task in learned:
        if task.head in known and not task.own_head:
            raise UserError(
                f"task {task.name!r}: nothing is to be learned, its head {task.head!r} is one of "
                f"{origin} and stays as it is; own_head: true gives it another besides"
            )
    named = sorted({task.head for task in learned if task.head is not None} & known)
    together = [f"^shared/{SHARED_HEADS}/{re.escape(name)}/" for name in named]
    return [f"^shared/(?!{SHARED_HEADS}/)", *together]


def _put_together(
    base: Part,
    inner: Path,
    tasks: Sequence[Task],
    directory: Path,
    retrained: bool,
    options: dict[str, Any],
) -> dict[str, Any]:
    say = notes_on(options["console"])
    added = read_part(inner, say)
    best, steps = _from_their_best_steps(added, say)
    heads = {**base.params["heads"], **added.params["heads"], **best}
    # What both have is that of the origin: a moving average of what does not change may differ
    # from it by rounding.
    together = {
        **shared_heads(added.params["shared"]),
        **shared_heads(base.params["shared"]),
    }
    if retrained:  # what others had too was refused
        names = {task.head for task in added.tasks}
        trained = shared_heads(added.params["shared"])
        together |= {name: head for name, head in trained.items() if name in names}
    shared = with_shared_heads(encoder_params(base.params["shared"]), together)
    about = {
        "from": "extend",
        **base.about(),
        "retrained" if retrained else "added": {
            task.name: steps.get(task.name, added.step) for task in added.tasks
        },
    }
    return assemble(
        [base, added],
        tasks,
        directory,
        lambda model, data: StartingPoint(shared, heads, about),
        **options,
    )


def _from_their_best_steps(
    added: Part, say: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, int]]:
    """The heads of their own best steps, and these; none where one step has to serve all."""
    together = any(task.head is not None for task in added.tasks)
    if not added.config.stopping.keep_each or together or len(added.tasks) < 2:
        return {}, {}
    try:
        return best_heads(added.directory, added.params, say)
    except UserError as error:
        say(f"heads are those of step {added.step}: {error}")
        return {}, {}


def put_best_heads_together(
    run: str | Path,
    run_dir: str | Path,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Make a run with the head of each task from that task's own best step.

    Args:
      run: directory of a run that was trained with `stopping.keep_each`, and whose shared
        parameters were frozen: heads of several steps fit no encoder that moves.
      run_dir: directory of the new run.
      data_dir: directory of data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.
      console: where progress is shown.

    Returns:
      The content of `summary.json` of the new run, which has no steps.

    Raises:
      UserError: the run kept no checkpoint of each task, or its shared parameters moved.
    """
    directory = Path(run_dir)
    check_new(directory)
    console = console or notebook_console() or Console(quiet=True)
    say = notes_on(console)
    part = read_part(run, say)
    heads, steps = best_heads(part.directory, part.params, say)
    listed = ", ".join(f"{task} of step {step}" for task, step in steps.items())
    say(f"heads: {listed}")
    about = {"from": "best_of_each", **part.about(), "steps": steps}
    return assemble(
        [part],
        part.tasks,
        directory,
        lambda model, data: StartingPoint(
            part.params["shared"], {**part.params["heads"], **heads}, about
        ),
        pretrained=part.config.encoder.pretrained,
        data_dir=data_dir,
        cache_dir=cache_dir,
        console=console,
    )
