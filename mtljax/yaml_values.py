"""YAML of people: read within bounds of size, depth and repetition, plain values alone."""

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
