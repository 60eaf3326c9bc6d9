"""Tasks files: YAML with an entry for each task, and for each of the user's data sets."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mtljax.errors import UserError
from mtljax.tasks.dataset import Dataset, dump_dataset, parse_dataset, with_absolute_paths
from mtljax.tasks.shared_heads import check_shared_heads
from mtljax.tasks.suggest import suggestion
from mtljax.tasks.task import FIELDS, Task
from mtljax.yaml_values import is_path, read_yaml, read_yaml_file, yaml_of

_MAX_TASKS = 2000


def load_tasks(path: str | Path) -> tuple[Task, ...]:
    """Reads a tasks file.

    Args:
        path: a YAML file `tasks: {name: {dataset: ..., kind: ..., inputs: ..., ...}, ...}`, with
            `sources: {name: {splits: ..., ...}, ...}` for the user's own data sets.

    Returns:
        The tasks in the order of the file, at least one. Relative paths of sources that exist next
        to the file are made absolute.

    Raises:
        UserError: with file, task and field, for anything that is wrong with it.
    """
    try:
        return _parse(read_yaml_file(path), Path(path).parent)
    except UserError as error:
        raise UserError(f"tasks file {path}: {error}") from None


TasksLike = str | os.PathLike[str] | Mapping[str, Any] | Task | Iterable[Task]
"""What `parse_tasks` reads."""


def parse_tasks(
    tasks: TasksLike, directory: str | os.PathLike[str] | None = None
) -> tuple[Task, ...]:
    """Reads tasks from YAML, from a dictionary like it, or from a file.

    Args:
        tasks: the text of a tasks file; a dictionary of its content, `{"tasks": {...}, "sources":
            {...}}`; the path of one, also as a string of one line that ends in `.yaml` or names a
            file; or tasks, which are returned as they are.
        directory: directory in which the files of its sources are looked for first; None for none.
            A file looks in its own.

    Returns:
        The tasks, at least one.

    Raises:
        TypeError: if it is none of these.
        UserError: with task and field, for anything that is wrong with it.
    """
    place = None if directory is None else Path(directory)
    if isinstance(tasks, os.PathLike) or (isinstance(tasks, str) and is_path(tasks)):
        return load_tasks(os.fspath(tasks))
    if isinstance(tasks, str):
        return _parse(tasks, place)
    if isinstance(tasks, Mapping):
        return _parse(yaml_of(tasks), place)
    several = (tasks,) if isinstance(tasks, Task) else tuple(tasks)
    for task in several:
        if not isinstance(task, Task):
            raise TypeError(
                "tasks must be YAML, a dictionary, a path or tasks, got a sequence with "
                f"{type(task).__name__}"
            )
    if not several:
        raise UserError("no tasks")
    return several


def _parse(text: str, directory: Path | None) -> tuple[Task, ...]:
    content, node = read_yaml(text)
    _refuse_duplicates(node)
    if content is None:
        raise UserError("empty")
    if not isinstance(content, dict) or "tasks" not in content:
        raise UserError("expected 'tasks:' with one entry a task")
    others = [str(key) for key in content if key not in ("tasks", "sources")]
    if others:
        raise UserError(f"unknown key {others[0]!r}; only 'tasks' and 'sources' are read")
    tasks = content["tasks"]
    if not isinstance(tasks, dict) or not tasks:
        raise UserError("'tasks' has no entry")
    if len(tasks) > _MAX_TASKS:
        raise UserError(f"{len(tasks)} tasks, of at most {_MAX_TASKS}")
    sources = _sources(content.get("sources"), node, directory)
    found = tuple(_task(name, fields, sources) for name, fields in tasks.items())
    check_shared_heads(found)
    return found


def _sources(content: Any, node: yaml.Node | None, directory: Path | None) -> dict[str, Dataset]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError("'sources' has no entries")
    sources = {}
    nodes = _entries(_entry(node, "sources"))
    for name, fields in content.items():
        written = _entries(_entry(nodes.get(str(name)), "features"))
        if isinstance(fields, dict) and isinstance(fields.get("features"), dict):
            features = {
                feature: _with_classes_as_written(column, written.get(str(feature)))
                for feature, column in fields["features"].items()
            }
            fields = {**fields, "features": features}
        source = parse_dataset(name, fields)
        sources[name] = source if directory is None else with_absolute_paths(source, directory)
    return sources


def _with_classes_as_written(column: Any, node: yaml.Node | None) -> Any:
    # YAML reads an unquoted yes or 1, which are fine names of classes, as something else.
    classes = _entry(node, "classes")
    if not isinstance(column, dict) or not isinstance(classes, yaml.SequenceNode):
        return column
    if not all(isinstance(item, yaml.ScalarNode) for item in classes.value):
        return column
    return {**column, "classes": [item.value for item in classes.value]}


def _entry(node: yaml.Node | None, key: str) -> yaml.Node | None:
    return _entries(node).get(key)


def _entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The values of a mapping by their keys, the first of equal ones."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    pairs = ((key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode))
    return dict(reversed(list(pairs)))


_TASK_LEVELS = ("task name", "field")
_SOURCE_LEVELS = ("source name", "field", "name", "field")


def _refuse_duplicates(node: yaml.Node | None, levels: tuple[str, ...] = ("key",)) -> None:
    # YAML itself takes the last of two equal keys without a warning.
    if not isinstance(node, yaml.MappingNode) or not levels:
        return
    seen = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                line = key.start_mark.line + 1
                raise UserError(f"line {line}: duplicate {levels[0]} {key.value!r}")
            seen.add(key.value)
        below = levels[1:]
        if levels == ("key",):
            in_sources = isinstance(key, yaml.ScalarNode) and key.value == "sources"
            below = _SOURCE_LEVELS if in_sources else _TASK_LEVELS
        _refuse_duplicates(value, below)


def _task(name: Any, fields: Any, sources: Mapping[str, Dataset]) -> Task:
    if not isinstance(fields, dict):
        raise UserError(f"task {name!r}: expected fields such as dataset, kind, inputs")
    for field in fields:
        if field not in FIELDS:
            raise UserError(
                f"task {name!r}, field {field!r}: unknown field{suggestion(field, FIELDS)}"
            )
    for field in ("dataset", "kind", "inputs"):
        if field not in fields:
            raise UserError(f"task {name!r}, field {field!r}: missing")
    # A field with nothing after the colon means its default.
    arguments = {field: value for field, value in fields.items() if value is not None}
    for field in ("dataset", "kind", "inputs"):
        arguments.setdefault(field, None)
    names = arguments["dataset"]
    names = names if isinstance(names, list) else [names]
    described = {str(d): sources[d] for d in names if isinstance(d, str) and d in sources}
    return Task(name=name, **arguments, sources=tuple(described.values()))


def dump_tasks(tasks: Iterable[Task]) -> str:
    """Writes tasks as the YAML text that `parse_tasks` reads back to equal tasks.

    Fields with their default value are left out; each source is described once.

    Raises:
        ValueError: if two tasks describe a source differently.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(Task)}
    content = {}
    sources: dict[str, Dataset] = {}
    for task in tasks:
        for source in task.sources:
            if sources.setdefault(source.name, source) != source:
                raise ValueError(f"source {source.name!r}: described in two ways")
        fields = {field: getattr(task, field) for field in FIELDS}
        content[task.name] = {
            field: _plain(field, value)
            for field, value in fields.items()
            if value != defaults[field]
        }
    # Plain ASCII: YAML reads some unescaped characters, such as U+0085, as line breaks.
    described = {name: dump_dataset(source) for name, source in sources.items()}
    top = {"sources": described} if described else {}
    return yaml.safe_dump({**top, "tasks": content}, sort_keys=False)


def _plain(field: str, value: Any) -> Any:
    if field == "class_weights" and isinstance(value, tuple):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
