"""Finding the files that a name or a pattern stands for."""

import glob
import os
from pathlib import Path


def matching(directory: Path, name: str) -> list[Path]:
    """The file or directory of a name, else the files that match it as a pattern, sorted.

    Args:
        directory: where a relative name is looked up; never a pattern.
        name: a path. What exists under its own name is no pattern, be it called `[x]` or `a*`:
            only the parts behind those that exist are searched for. `~` and `~user` are homes
            where there are such users, and names otherwise.

    >>> matching(Path("/"), "no/such/[file]")
    []
    """
    try:
        path = directory / os.path.expanduser(name)
        if path.exists():
            return [path]
        if not path.is_absolute():
            path, directory = path.absolute(), directory.absolute()
        inside = path.is_relative_to(directory)
        literal = directory if inside else Path(path.anchor)
        parts = path.relative_to(literal).parts
        while len(parts) > 1 and (literal / parts[0]).exists():
            literal, parts = literal / parts[0], parts[1:]
        matches = glob.glob(os.path.join(*parts), root_dir=literal, recursive=True)
        return [literal / match for match in sorted(matches)]
    except (OSError, ValueError):
        return []
