"""JSON lines: one object a line."""

import json
from collections.abc import Iterator
from typing import Any

from mtljax.data.files.readers.lines import Lines, Record

_NAMES = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "a truth value"}


def read_jsonl(lines: Lines) -> Iterator[Record]:
    """Reads JSON lines; empty lines are skipped.

    Yields:
        Records whose values are dicts.
    """
    for line in lines:
        if not line.strip():
            continue
        try:
            values = json.loads(line.rstrip())
        except json.JSONDecodeError as error:
            problem = f"not JSON: {error.msg} (column {error.colno})"
            if line.lstrip().startswith("{") and error.pos >= len(line.rstrip()):
                problem += "; an object has to be on one line"
            yield Record(lines.number, None, problem)
        except (ValueError, RecursionError):
            yield Record(lines.number, None, "not JSON that can be read: too deep or too long")
        else:
            if isinstance(values, dict):
                yield Record(lines.number, values)
            else:
                name = _NAMES.get(type(values), "null")
                yield Record(lines.number, None, f"expected a JSON object, got {name}")


def flat(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of an object by dotted path.

    >>> list(flat({"id": 1, "answers": {"text": ["a"]}, "turns": [{"by": "x"}, {"by": "y"}]}))
    [('id', 1), ('answers.text', ['a']), ('turns.by', ['x', 'y'])]
    """
    for key, value in record.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flat(value, f"{path}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            keys = dict.fromkeys(key for item in value for key in item)
            yield from flat({key: [item.get(key) for item in value] for key in keys}, f"{path}.")
        else:
            yield path, value


def pluck(value: Any, path: str) -> Any:
    """The value at a dotted path that `flat` names; None where there is none.

    >>> pluck({"turns": [{"by": "x"}, {"by": "y"}]}, "turns.by")
    ['x', 'y']
    """
    if isinstance(value, dict):
        if path in value:
            return value[path]
        first, _, rest = path.partition(".")
        return pluck(value[first], rest) if rest and first in value else None
    if isinstance(value, list):
        return [pluck(item, path) for item in value]
    return None
