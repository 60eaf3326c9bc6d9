"""Tasks files: YAML with one entry a task, the fields of `Task` under its name."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from mtljax.errors import UserError
from mtljax.tasks.suggest import suggestion
from mtljax.tasks.task import FIELDS, Task


def load_tasks(path: str | Path) -> tuple[Task, ...]:
    """Reads a tasks file.

    Args:
        path: a YAML file `tasks: {name: {dataset: ..., kind: ..., inputs: ..., ...}, ...}`.

    Returns:
        The tasks in the order of the file, at least one.

    Raises:
        UserError: with file, task and field, for anything that is wrong with it.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"tasks file {path}: {error.strerror or error}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"tasks file {path}: not UTF-8 text (byte {error.start})") from error
    try:
        return parse_tasks(text)
    except UserError as error:
        raise UserError(f"tasks file {path}: {error}") from None


def parse_tasks(text: str) -> tuple[Task, ...]:
    """Reads tasks from the text of a tasks file, as `load_tasks` does from a file.

    Raises:
        UserError: with task and field, for anything that is wrong with it.
    """
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.TagToken):
                tag = "".join(part or "" for part in token.value)
                raise UserError(f"line {token.start_mark.line + 1}: YAML tag {tag!r} not allowed")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_duplicates(node, ("key", "task name", "field"))
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(_one_line(error)) from error
    except RecursionError as error:
        raise UserError("nested too deeply") from error
    except ValueError as error:
        # Of dates and numbers that only look like some, such as 2020-13-45.
        raise UserError(f"a value cannot be read: {' '.join(str(error).split())}") from error
    if content is None:
        raise UserError("empty")
    if not isinstance(content, dict) or "tasks" not in content:
        raise UserError("expected 'tasks:' with one entry a task")
    others = [str(key) for key in content if key != "tasks"]
    if others:
        raise UserError(f"unknown key {others[0]!r}; only 'tasks' is read")
    tasks = content["tasks"]
    if not isinstance(tasks, dict) or not tasks:
        raise UserError("'tasks' has no entry")
    return tuple(_task(name, fields) for name, fields in tasks.items())


def _refuse_duplicates(node: yaml.Node | None, levels: tuple[str, ...]) -> None:
    # YAML itself lets the last of two equal keys win, without a word.
    if not isinstance(node, yaml.MappingNode) or not levels:
        return
    seen = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                line = key.start_mark.line + 1
                raise UserError(f"line {line}: duplicate {levels[0]} {key.value!r}")
            seen.add(key.value)
        _refuse_duplicates(value, levels[1:])


def _task(name: Any, fields: Any) -> Task:
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
    given = {field: value for field, value in fields.items() if value is not None}
    for field in ("dataset", "kind", "inputs"):
        given.setdefault(field, None)
    return Task(name=name, **given)


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return where + "not YAML: " + " ".join(str(problem).split())


def dump_tasks(tasks: Iterable[Task]) -> str:
    """Writes tasks as the YAML text that `parse_tasks` reads back to equal tasks.

    Fields with their default value are left out.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(Task)}
    content = {}
    for task in tasks:
        fields = {field: getattr(task, field) for field in FIELDS}
        content[task.name] = {
            field: list(value) if isinstance(value, tuple) else value
            for field, value in fields.items()
            if value != defaults[field]
        }
    # Plain ASCII: YAML reads some unescaped characters, such as U+0085, as line breaks.
    return yaml.safe_dump({"tasks": content}, sort_keys=False)
