"""``mtljax export``: write a run in a form that works without this library."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mtljax.cli.options import parse, print_json, printable, python_command, warn
from mtljax.errors import UserError
from mtljax.local_paths import check_place


@dataclasses.dataclass(frozen=True)
class Options:
    """Write a run in a form that works without this library.

    'stablehlo': programs of jax.export for CPUs, CUDA and TPUs, of any batch and length, with
    parameters in safetensors, tokenizer, signature and answer.py, which answers with them. Needs
    the extra 'export'. 'huggingface': the encoder as transformers loads it, of a run that began
    with --encoder.pretrained, and with --task the head of that task.

    Attributes:
      run: run directory.
      directory: to be made.
      to: the form.
      task: export this task only; may be given several times (stablehlo).
      like: directory of the pretrained model, if it is no more where the run had it from
        (huggingface).
      json: print the names and sizes of the files as JSON.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    to: Literal["stablehlo", "huggingface"] = "stablehlo"
    task: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME")] = ()
    like: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "export", arguments)
    stablehlo = options.to == "stablehlo"
    if options.like is not None and stablehlo:
        raise UserError("--like: is for --to huggingface")
    if len(options.task) > 1 and not stablehlo:
        raise UserError("--task: --to huggingface takes one, whose head is written")
    check_place("export", options.directory, directory=True)
    from mtljax.export import to_huggingface, to_stablehlo
    from mtljax.inference import load_run

    loaded = load_run(options.run, warn=warn)
    if stablehlo:
        to_stablehlo(loaded, options.directory, options.task or None)
    else:
        to_huggingface(loaded, options.directory, next(iter(options.task), None), options.like)
    if options.json:
        files = sorted(Path(options.directory).iterdir())
        sizes = {path.name: path.stat().st_size for path in files}
        print_json({"directory": options.directory, "files": sizes})
        return 0
    if stablehlo:
        print(printable(python_command(f"{options.directory}/answer.py", "some text")))
    else:
        model = "For...Classification" if options.task else ""
        print(
            printable(f"next: transformers.AutoModel{model}.from_pretrained({options.directory!r})")
        )
    return 0
