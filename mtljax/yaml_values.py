"""YAML of people: read within bounds of size, depth and repetition, plain values alone."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mtljax.errors import UserError

MAX_CHARACTERS = 1_000_000
"""The longest text that is read."""

_MAX_ENTRIES = 100_000  # keys, values and brackets
_MAX_DEPTH = 32
_MAX_EXPANDED = 4_000_000  # characters and entries, with what aliases repeat

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml reads ten times as fast


def read_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """Read a YAML text of one document.

    Args:
      text: the text. Anchors, aliases and merge keys are read; tags are refused.

    Returns:
      Its value, and the nodes that it was made of, which keep values as they were written.

    Raises:
      UserError: if it is not YAML, or is larger, deeper or repeats more than people write.

    >>> read_yaml("{a: &x [1, 2], b: *x}")[0]
    {'a': [1, 2], 'b': [1, 2]}
    """
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{len(text)} characters, of at most {MAX_CHARACTERS}")
    try:
        # Events come without recursion: what they pass is safe to compose.
        _check_events(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, None
            _expanded_size(node, {})
            return loader.construct_document(node), node
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise UserError(_one_line(error)) from error
    except RecursionError as error:
        raise UserError("nested too deeply") from error
    except (ValueError, OverflowError, TypeError) as error:
        # Of dates and numbers that only look like some, such as 2020-13-45.
        raise UserError(f"a value cannot be read: {' '.join(str(error).split())}") from error


def read_yaml_file(path: str | os.PathLike[str]) -> str:
    """Read the text of a file, no more of it than `read_yaml` takes.

    Raises:
      UserError: if it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(4 * MAX_CHARACTERS + 1)  # of bytes, of which a letter has up to four
    except (OSError, ValueError) as error:
        raise UserError(getattr(error, "strerror", None) or str(error)) from error
    if len(raw) > 4 * MAX_CHARACTERS:
        raise UserError(f"larger than {MAX_CHARACTERS} characters")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text (byte {error.start})") from error


def is_path(text: str) -> bool:
    """Whether a string is the name of a file rather than YAML: one line, a file or named as one.

    >>> is_path("tasks.yaml"), is_path("tasks: {}")
    (True, False)
    """
    one_line = len(text) < 4096 and len(text.splitlines()) == 1
    return one_line and (text.endswith((".yaml", ".yml")) or os.path.isfile(text))


def yaml_of(value: Mapping[Any, Any]) -> str:
    r"""Write a Python value as YAML, so that it is read as one from a file is.

    Args:
      value: of mappings, sequences, texts, numbers, paths and None, nested.

    Raises:
      UserError: for a value of another type, or one that is nested too deeply.

    >>> yaml_of({"path": Path("a.csv"), "classes": (True, "no")})
    "path: a.csv\nclasses:\n- true\n- 'no'\n"
    """
    return yaml.safe_dump(_plain(value, _MAX_DEPTH), sort_keys=False)


def _plain(value: Any, depth: int) -> Any:
    if not depth:
        raise UserError(f"nested too deeply, beyond {_MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_plain(key, depth - 1): _plain(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # a number of NumPy or JAX
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    raise UserError(f"a value of type {type(value).__name__} cannot be read")


def _check_events(text: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        tag = getattr(event, "tag", None)
        if tag is None and depth <= _MAX_DEPTH and count < _MAX_ENTRIES:
            continue
        mark: Any = event.start_mark
        where = f"line {mark.line + 1}"
        if tag is not None:
            raise UserError(f"{where}: YAML tag {tag[:80]!r} not allowed")
        if depth > _MAX_DEPTH:
            raise UserError(f"{where}: nested too deeply, beyond {_MAX_DEPTH} levels")
        raise UserError(f"{where}: too large, more than {_MAX_ENTRIES} keys and values")


def _expanded_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Characters and entries of a node, where every alias counts what it repeats."""
    where = f"line {node.start_mark.line + 1}"
    if (size := sizes.get(id(node))) is not None:
        if not size:
            raise UserError(f"{where}: an anchor is part of itself")
        return size
    sizes[id(node)] = 0  # until all below is counted
    if isinstance(node, yaml.ScalarNode):
        size = 1 + len(node.value)
    elif isinstance(node, yaml.MappingNode):
        size = 1 + sum(_expanded_size(part, sizes) for pair in node.value for part in pair)
    else:
        size = 1 + sum(_expanded_size(part, sizes) for part in node.value)
    if size > _MAX_EXPANDED:
        raise UserError(f"{where}: aliases repeat values to more than {_MAX_EXPANDED} characters")
    sizes[id(node)] = size
    return size


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return where + "not YAML: " + " ".join(str(problem).split())
