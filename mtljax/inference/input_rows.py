"""The rows of a user's table or CoNLL file, as inputs of the tasks of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.data.files.formats import OPENERS, Opened
from mtljax.data.files.readers import Lines
from mtljax.data.sources.bad_rows import READ_ERRORS
from mtljax.data.tokenizers import Text
from mtljax.errors import UserError, reason_of
from mtljax.inference.inputs import as_declared, declared_columns
from mtljax.tasks import Column, Dataset, Task
from mtljax.tasks.dataset import format_of

_ROWS = ("csv", "tsv", "conll")
_ANY_NAME = ("text", "tokens", "prompt")
# How a file is read, whatever its rows hold.
_OPTIONS = ("header", "separator", "quotes", "escape", "skip_blanks", "comments", "paragraphs")


def has_rows(path: str, tasks: Sequence[Task]) -> bool:
    """Whether a file is read row by row: a table, CoNLL, or text that tasks read by paragraphs.

    Args:
      path: path of the file, whose ending says its format.
      tasks: tasks of the run that read it.
    """
    known = format_of(path)
    described = [source for task in tasks for source in task.sources if source.format == known]
    return known in _ROWS or (known == "text" and any(source.paragraphs for source in described))


class InputRow(NamedTuple):
    """A row of a file.

    Attributes:
      line: the number of its line.
      texts: texts, or lists of words, by the names of features.
      columns: its values by the names of columns, as far as they have names.
    """

    line: int
    texts: Mapping[str, Text]
    columns: Mapping[str, Any]


def read_rows(path: str, tasks: Sequence[Task]) -> Iterator[InputRow]:
    """Reads a file for which `has_rows` holds, as the data sets of a run were read.

    Columns are found by the name or number that the run's data set of this format declares for a
    feature, by what another one declares, or by the name of the feature. Other columns are not
    read.

    Args:
      path: path of the file.
      tasks: tasks of the run that read it.

    Returns:
      The rows. The file is opened at once, and read when rows are asked for.

    Raises:
      UserError: with file and line, if the file cannot be read or a row is malformed, or no column
        is known to hold what the tasks read.
    """
    dataset = _description(path, tasks)
    try:
        opened = OPENERS[dataset.format](dataset, Path(path))
        getters = _getters(opened, dataset, tasks)
        if not getters:
            names = dict.fromkeys(part for task in tasks for part in task.parts)
            opened.get(next(iter(names)))  # raises: says what there is
            raise ValueError(f"no column {' or '.join(map(repr, names))}")
        file = opened.open(Path(path))
    except READ_ERRORS as error:
        raise UserError(f"--input {path}: {reason_of(error)}") from None
    except ValueError as error:
        raise UserError(f"--input {path}: {error}") from None
    return _rows(path, opened, getters, file)


def _rows(
    path: str, opened: Opened, getters: Mapping[str, Callable[[Any], Text]], file: Any
) -> Iterator[InputRow]:
    with file:
        lines = Lines(file)
        try:
            for record in opened.records(lines):
                problem = "not UTF-8 text" if lines.damaged else record.problem
                if problem is not None:
                    raise UserError(f"{path}:{lines.damaged or record.line}: {problem}")
                try:
                    row = {name: get(record.values) for name, get in getters.items()}
                except ValueError as error:
                    raise UserError(f"{path}:{record.line}: {error}") from None
                yield InputRow(record.line, row, dict(opened.columns(record.values)))
        except READ_ERRORS as error:
            raise UserError(f"{path}:{lines.number + 1}: {reason_of(error)}") from None


def _description(path: str, tasks: Sequence[Task]) -> Dataset:
    """How the file is read: as the run's data sets of its format, which have to agree."""
    known = format_of(path) or ""
    names = {part for task in tasks for part in task.parts}
    described: dict[Any, Dataset] = {}
    for source in (source for task in tasks for source in task.sources if source.format == known):
        columns = tuple(
            column
            for column in source.features
            if column.name in names and (known == "conll" or isinstance(column.column, int))
        )
        options = {option: getattr(source, option) for option in _OPTIONS}
        key = (*options.values(), columns)
        described[key] = Dataset(
            source.name, path="input", format=known, features=columns, **options
        )
    if len(described) > 1:
        *others, last = (repr(source.name) for source in described.values())
        raise UserError(
            f"--input {path}: the data sets {', '.join(others)} and {last} are read in different "
            "ways: name a task with --task"
        )
    if described:
        return next(iter(described.values()))
    if known == "conll":
        raise UserError(
            f"--input {path}: the run has no data set in CoNLL columns, which would say in which "
            "one the words are; give JSON lines"
        )
    return Dataset("input", path="input", format=known)


def _getters(
    opened: Opened, dataset: Dataset, tasks: Sequence[Task]
) -> dict[str, Callable[[Any], Text]]:
    own = {column.name: column for column in dataset.features}
    getters: dict[str, Callable[[Any], Text]] = {}
    for task in tasks:
        for name in (*task.parts, *_ANY_NAME):
            candidates = [own[name]] if name in own else []
            for column in (*candidates, *declared_columns(task, name), Column(name, name)):
                # The number of a column says nothing of a file of another format.
                if isinstance(column.column, int) and column not in dataset.features:
                    continue
                try:
                    get = opened.get(column.column)
                except (ValueError, KeyError):
                    continue
                getters.setdefault(name, _converted(get, column))
                break
    return getters


def _converted(get: Callable[[Any], Any], column: Column) -> Callable[[Any], Text]:
    return lambda values: as_declared(get(values), column)
