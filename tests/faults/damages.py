"""Random damages to the files of a run: bits, cuts, bytes and edits of JSON and YAML."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

WITHOUT_EFFECT = (".lock", ".times.jsonl", "curves.png", "gradients.png")
"""Files that say nothing about what a run computes."""


def damage(directory: Path, rng: random.Random) -> tuple[str, str]:
    """Damage one file below a directory.

    Returns:
      The path of the file in the directory, and what was done to it.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    own = [path for path in files if "checkpoints" not in path.relative_to(directory).parts]
    path = rng.choice(own if rng.random() < 0.4 else files)
    content = path.read_bytes()
    kinds: list[Callable[[bytes, random.Random], bytes]] = [
        _bit,
        _bits,
        _bytes,
        _cut,
        _zeros,
        _more,
    ]
    if _values(content) is not None and path.suffix != ".jsonl":
        kinds += [_edit] * 4
    kind = rng.choice(kinds)
    if rng.random() < 0.05:
        path.unlink()
        return path.relative_to(directory).as_posix(), "removed"
    changed = kind(content, rng)
    while changed == content:
        changed = _bit(content, rng) if content else b"\0"
    path.write_bytes(changed)
    return path.relative_to(directory).as_posix(), kind.__name__.strip("_")


def _bit(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    position = rng.randrange(len(changed))
    changed[position] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _bits(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(2, 9)):
        content = _bit(content, rng)
    return content


def _bytes(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + rng.randbytes(rng.randint(1, 64)) + content[start + 64 :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _zeros(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    end = min(len(content), start + 512)
    return content[:start] + bytes(end - start) + content[end:]


def _more(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.randint(1, 16))


ANYWHERE: tuple[Callable[[bytes, random.Random], bytes], ...]
ANYWHERE = (_bit, _bits, _bytes, _cut, _zeros, _more)


def _values(content: bytes) -> Any:
    try:
        return yaml.safe_load(content)  # JSON too
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
        return None


def _edit(content: bytes, rng: random.Random) -> bytes:
    """Remove a key, or change a value or its type, somewhere inside."""
    value = _values(content)
    is_json = content.lstrip()[:1] in (b"{", b"[")
    parts = _containers(value)
    if not parts:
        value = rng.choice([None, [], {}, "x", 3])
    else:
        part = rng.choice(parts)
        key = rng.choice(list(part) if isinstance(part, dict) else range(len(part)))
        if rng.random() < 0.3:
            del part[key]
        else:
            part[key] = _other(part[key], rng)
    return (json.dumps(value) if is_json else yaml.safe_dump(value)).encode()


def _containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] * bool(inner) + [part for item in inner for part in _containers(item)]


def _other(value: Any, rng: random.Random) -> Any:
    options = [None, [], {}, "x", -1, 10**30, 0.5, True, [value], {"x": value}]
    if isinstance(value, str):
        options += [value + "x"] * 4
    elif isinstance(value, int | float):
        options += [value + 1] * 4
    return rng.choice(options)
