"""A run measured on a file of one's own that has targets."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mtljax.data import MultitaskData, load_data
from mtljax.data.files.formats import OPENERS
from mtljax.data.files.readers import Lines
from mtljax.data.sources.bad_rows import READ_ERRORS
from mtljax.errors import UserError, reason_of
from mtljax.inference.generation_config import EVALUATION, GenerationConfig
from mtljax.inference.inputs import declared_columns
from mtljax.inference.measured import Written, measured
from mtljax.inference.run import Run
from mtljax.kinds import KINDS, Output
from mtljax.tasks import Column, Dataset, Task
from mtljax.tasks.dataset import format_of
from mtljax.training.evaluation import Values
from mtljax.training.model import data_options
from mtljax.training.persistence.run_directory import RunFiles
from mtljax.training.reporting.data_notes import left_out_notes
from mtljax.training.restore import restored_model

SPLIT = "test"
"""The split of the data that is measured: whole texts, where those of train are cut to a row."""

# How a file is read, whatever its rows hold.
_OPTIONS = ("header", "separator", "quotes", "escape", "skip_blanks", "comments", "paragraphs")


class OnFile(NamedTuple):
    """What a run reaches on a file.

    Attributes:
      values: by task and metric.
      lacking: of each other task, what the file lacks.
    """

    values: Values
    lacking: dict[str, str]


def evaluate_file(
    run: Run,
    path: str | Path,
    tasks: Sequence[str] = (),
    *,
    generate: bool = False,
    config: GenerationConfig = EVALUATION,
    say: Callable[[str], None] = lambda text: None,
) -> OnFile:
    """Metric values of a run on a file of one's own that has targets.

    Args:
      run: from `mtljax.load_run`.
      path: of a file that is read as those that the run was trained on: by its ending JSON lines, a
        table, CoNLL columns or plain text. Its labels are classes of the run.
      tasks: names of tasks; without any, all whose inputs and targets the file has.
      generate: whether the texts of text to text are generated and measured as well.
      config: how these texts are generated.
      say: is called with a line on what is odd but used.

    Returns:
      `OnFile`.

    Raises:
      UserError: for a task that the run has not, a file that cannot be read, a label that is none
        of the run's, or if nothing of the file can be measured.
    """
    for name in tasks:
        run.task(name)
    files = RunFiles(run.config, run.tasks, run.tokenizer, run.layout)
    data, lacking = labelled_data(files, str(path), tasks)
    for note in left_out_notes(data, SPLIT):
        say(note)
    model, _ = restored_model(run.directory, run.config, data.layout)
    written = Written(run.generators, config) if generate else None
    values = measured(model, run.params, data, SPLIT, written, say)
    if not values:
        raise UserError(f"--input {path}: no row has a target of {', '.join(data.layout.outputs)}")
    without = {name: "no row has a target" for name in data.layout.outputs if name not in values}
    return OnFile(values, lacking | without)


def labelled_data(
    files: RunFiles, path: str, names: Sequence[str] = ()
) -> tuple[MultitaskData, dict[str, str]]:
    """Reads a file as the only data of those tasks of a run whose inputs and targets it has.

    It is read as the run's data set of its format was. A feature is in the column that this one,
    or else another data set, declares for it, or in the one of its name. Classes are those of the
    run, and numbers in its units: a label that the run does not know is an error with its line.

    Args:
      files: of the run.
      path: of the file, whose ending says its format.
      names: tasks that are measured; without any, all that the file has something for.

    Returns:
      The data, whose every split is the file; and what it lacks, by the names of other tasks.

    Raises:
      UserError: if the file cannot be read, or lacks a feature of a task that is named, or of all.
    """
    found, lacking = [], {}
    for task in files.tasks:
        if names and task.name not in names:
            continue
        try:
            found.append(_on_file(task, files.layout.outputs[task.name], path))
        except ValueError as error:
            if names:
                raise UserError(f"--input {path}: task {task.name!r}: {error}") from None
            lacking[task.name] = str(error)
    if not found:
        first, why = next(iter(lacking.items()))
        raise UserError(f"--input {path}: nothing of it is measured; task {first!r}: {why}")
    found = [dataclasses.replace(task, sources=(_joined(task, found),)) for task in found]
    options = dataclasses.replace(data_options(files.config, files.tasks), samples=0)
    tokenizer, outputs = files.tokenizer, files.layout.outputs
    return load_data(found, options, tokenizer=tokenizer, begun=outputs), lacking


def _on_file(task: Task, output: Output, path: str) -> Task:
    """The task with the file as its data set.

    Raises:
      ValueError: if it has no column for an input or the targets.
      UserError: if it cannot be read.
    """
    source = _like_training(task, path)
    there = _columns(source, path)
    features, absent = [], []
    for name in sorted(task.features):
        own = [column for column in source.features if column.name == name]
        by_name = [c for c in declared_columns(task, name) if isinstance(c.column, str)]
        for column in (*own, *by_name, Column(name, name)):
            if column in own or there is None or column.column in there:
                features.append(_with_classes(column, task, output))
                break
        else:
            absent.append(name)
    for name in (*task.parts, *filter(None, (task.targets,))):
        if name in absent:
            known = ", ".join(map(repr, sorted(there or ())[:20]))
            raise ValueError(f"no column {name!r}; there are {known}")
    return dataclasses.replace(
        task,
        dataset=source.name,
        weights=None if task.weights in absent else task.weights,
        references=None if task.references in absent else task.references,
        sources=(dataclasses.replace(source, features=tuple(features)),),
    )


def _joined(task: Task, tasks: Sequence[Task]) -> Dataset:
    """The data set of a task, with what all tasks read of it."""
    (source,) = task.sources
    same = [other.sources[0] for other in tasks if other.dataset == task.dataset]
    columns = {column.name: column for one in same for column in one.features}
    return dataclasses.replace(source, features=tuple(columns.values()))


def _like_training(task: Task, path: str) -> Dataset:
    """The file, read as the first of the task's data sets that has its format."""
    known = format_of(path) or "text"
    same = [source for source in task.sources if source.format == known]
    if known == "conll" and not same:
        raise ValueError("it has no data set in CoNLL columns, which would say what is in which")
    options = {name: getattr(same[0], name) for name in _OPTIONS} if same else {}
    features = same[0].features if same else ()
    names = task.features
    # A number says nothing of the columns of a file of another format.
    return Dataset(
        # The texts of tasks that read one data set are encoded together, and others are not.
        name=f"file.{task.datasets[0]}",
        path=str(Path(path).absolute()),
        splits=(("train", ("[:]",)), (SPLIT, ("[:]",))),
        format=known,
        features=tuple(column for column in features if column.name in names),
        **options,
    )


def _columns(source: Dataset, path: str) -> set[str | int] | None:
    """The names of the columns of a file; None where they have none and are declared."""
    if source.format == "conll":
        return {column.column for column in source.features}
    if source.format == "text":
        return {"text"}
    if not source.header:
        return {column.column for column in source.features}
    try:
        opened = OPENERS[source.format](source, Path(path))
        with opened.open(Path(path)) as file:
            first = next(iter(opened.records(Lines(file))), None)
    except READ_ERRORS as error:
        raise UserError(f"--input {path}: {reason_of(error)}") from None
    except ValueError as error:
        raise UserError(f"--input {path}: {error}") from None
    if first is None:
        raise UserError(f"--input {path}: no rows")
    if first.problem is not None:
        raise UserError(f"{path}:{first.line}: {first.problem}")
    return {name for name, _ in opened.columns(first.values)}


def _with_classes(column: Column, task: Task, output: Output) -> Column:
    """The column of the targets with the classes of the run."""
    if column.name != task.targets or not KINDS[task.kind].has_classes:
        return column
    kind = column.kind or ("label" if task.kind == "classification" else "tags")
    return dataclasses.replace(column, kind=kind, classes=output.classes)
