"""``mtljax export``: write a run in a form that works without this library."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mtljax.cli.options import parse, print_json, printable, warn


@dataclasses.dataclass(frozen=True)
class Options:
    """Write a run in a form that works without this library.

    'stablehlo': programs of jax.export for CPUs, CUDA and TPUs, of any batch and length, with
    parameters in safetensors, tokenizer, signature and answer.py, which answers with them. Needs
    the extra 'export'.

    Attributes:
      run: run directory.
      directory: to be made.
      to: the form.
      task: export this task only; may be given several times.
      json: print the names and sizes of the files as JSON.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    to: Literal["stablehlo"] = "stablehlo"
    task: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "export", arguments)
    from mtljax.export import to_stablehlo
    from mtljax.inference import load_run

    to_stablehlo(load_run(options.run, warn=warn), options.directory, options.task or None)
    if options.json:
        files = sorted(Path(options.directory).iterdir())
        sizes = {path.name: path.stat().st_size for path in files}
        print_json({"directory": options.directory, "files": sizes})
        return 0
    print(printable(f'next: python {options.directory}/answer.py "some text"'))
    return 0
