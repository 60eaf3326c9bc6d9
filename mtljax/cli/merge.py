"""``mtljax merge``: merge runs that began from one run or pretrained model."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import tyro

from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import (
    Output,
    cache_directory,
    data_directory,
    next_command,
    parse,
    print_json,
    printable,
)
from mtljax.local_paths import check_local
from mtljax.training.merged_run import MergeSettings


@dataclasses.dataclass(frozen=True)
class Options:
    """Merge the encoders of runs that began from one, and keep the heads of all.

    All began with --encoder.from-run or --encoder.pretrained from the same parameters, which each
    run keeps the digest of. The new run has the tasks of all; it is used as any other.

    Attributes:
      runs: run directories, two at least.
      run_dir: directory of the new run.
      settings: how they are merged.
      ancestor: directory of what they began from, if it is no more where the first had it from.
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      cache_dir: directory of the token cache, 'off' for none; the environment's MTLJAX_CACHE_DIR or
        ~/.cache/mtljax by default.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print the summary as JSON, and the progress to stderr.
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN...")]
    run_dir: Annotated[str, tyro.conf.arg(metavar="DIR")]
    settings: Annotated[MergeSettings, tyro.conf.arg(name="")] = MergeSettings()
    ancestor: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "merge", arguments)
    with compile_cache(options.compile_cache):
        return _run(options)


def _run(options: Options) -> int:
    check_local("run directory", options.run_dir)
    from mtljax.training import merge_runs, results_table

    console = Output(stderr=options.json, soft_wrap=True)
    summary = merge_runs(
        options.runs,
        options.run_dir,
        options.settings,
        ancestor=options.ancestor,
        data_dir=data_directory(options.data_dir),
        cache_dir=cache_directory(options.cache_dir),
        console=console,
    )
    console.print(results_table(summary), soft_wrap=False)
    console.print(printable(next_command("predict", options.run_dir, "some text")))
    if options.json:
        print_json(summary)
    return 0
