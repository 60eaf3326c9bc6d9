"""``mtljax inspect``: what is in the directory of a run or of a pretrained model."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import tyro

from mtljax.cli.options import parse, print_json, printable


@dataclasses.dataclass(frozen=True)
class Options:
    """Say what is in a directory: architecture, parameters by part, vocabulary, precision.

    And whether it can be loaded: the exit code is 1 where it cannot.

    Attributes:
      path: directory of a run, or of a pretrained model in the layout of Hugging Face.
      json: print one JSON object.
    """

    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")]
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "inspect", arguments)
    from mtljax.inference.inspect import inspect

    found = inspect(options.path)
    if options.json:
        total = sum(found.parameters.values())
        print_json({**found._asdict(), "total_parameters": total, "loads": not found.problem})
    else:
        for line in _lines(options.path, found):
            print(printable(line))
    return int(bool(found.problem))


def _lines(path: str, found: Any) -> Iterator[str]:
    yield f"{path}: a {found.kind}"
    if found.architecture:
        yield f"  architecture  {_listed(found.architecture)}"
        yield f"  parameters    {sum(found.parameters.values()):,}"
        for part, count in found.parameters.items():
            yield f"    {part:<12}{count:>16,}"
        yield f"  vocabulary    {found.vocabulary}"
    if found.precision:
        precision = ", ".join(f"{count} of {kind}" for kind, count in found.precision.items())
        yield f"  precision     {precision}"
    for name, value in found.more.items():
        yield f"  {name:<14}{_listed(value) if isinstance(value, dict) else value}"
    yield f"  can be loaded {'no: ' + found.problem if found.problem else 'yes'}"


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
