"""``mtljax completion``: what completes commands and options in a shell."""

import contextlib
import dataclasses
import importlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union

import tyro

from mtljax.cli.options import parse


@dataclasses.dataclass(frozen=True)
class Options:
    """Print a script that completes commands, options and their values.

    For bash add this to ~/.bashrc: source <(mtljax completion bash). For zsh write it to a file
    _mtljax in a directory of fpath, for fish to ~/.config/fish/completions/mtljax.fish.

    Attributes:
      shell: bash, zsh or fish.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "completion", arguments)
    from mtljax.cli.main import COMMANDS

    modules = {name: importlib.import_module(f"mtljax.cli.{name}") for name in COMMANDS}
    commands: Any = Union[  # noqa: UP007 - of names that are known when it runs
        tuple(
            Annotated[module.Options, tyro.conf.subcommand(name)]
            for name, module in modules.items()
        )
    ]
    with contextlib.suppress(SystemExit):  # how it ends once it has printed
        tyro.cli(
            commands,
            prog="mtljax",
            args=["--tyro-print-completion", options.shell],
            config=(tyro.conf.SuppressFixed,),
        )
    return 0
