"""``mtljax extend``: add tasks to a trained run, or train heads of it anew."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from mtljax.cli import short_help
from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import (
    HELP_ALL,
    Output,
    cache_directory,
    data_directory,
    next_command,
    parse,
    print_json,
    printable,
    warn,
)
from mtljax.cli.presets import given, split_weighting_options
from mtljax.cli.processes import ProcessOptions, joined
from mtljax.cli.xla_flags import set_xla_flags
from mtljax.errors import UserError
from mtljax.local_paths import check_local, check_place
from mtljax.presets import Config
from mtljax.tasks import load_tasks


@dataclasses.dataclass(frozen=True)
class Options:
    """Add tasks to a trained run, in a new run directory, or train heads of it anew.

    The encoder and the old heads stay as they are, and so every old answer; with --no-freeze all
    tasks are trained together, from where the run ended. Other options are those of the run, where
    none are given. Called again with the same options, it resumes where it was left.

    Attributes:
      run: run directory; put it first.
      tasks: tasks file (YAML) with the tasks to be added.
      retrain: a task of the run whose head is drawn and trained anew, alone; may be given several
        times, in place of --tasks.
      best_of_each: add nothing, but take the head of each task from that task's own best step, of a
        run whose encoder was frozen and that was trained with --stopping.keep-each.
      freeze: leave the encoder and the old heads as they are.
      run_dir: directory of the new run.
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      cache_dir: directory of the token cache, 'off' for none; the environment's MTLJAX_CACHE_DIR or
        ~/.cache/mtljax by default.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print the summary as JSON, and the progress to stderr.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    run_dir: Annotated[str, tyro.conf.arg(metavar="DIR")]
    config: Annotated[Config, tyro.conf.arg(name="")] = Config()
    tasks: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    retrain: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME")
    ] = ()
    best_of_each: tyro.conf.FlagCreatePairsOff[bool] = False
    freeze: bool = True
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = read_options(arguments)
    check_local("run directory", options.run_dir)
    set_xla_flags(options.config.parallel.xla_flags)
    directory = Path(options.run_dir)
    check_place("run directory", directory, directory=True)
    with (
        joined(ProcessOptions(), "extend", directory / "checkpoints") as preempted,
        compile_cache(options.compile_cache),
    ):
        from mtljax.training import extend_run, put_best_heads_together, results_table

        console = Output(stderr=options.json, soft_wrap=True)
        places: dict[str, Any] = {
            "data_dir": data_directory(options.data_dir),
            "cache_dir": cache_directory(options.cache_dir),
            "console": console,
        }
        if options.best_of_each:
            if options.tasks is not None or options.retrain:
                raise UserError("--best-of-each: not with --tasks or --retrain")
            summary = put_best_heads_together(options.run, directory, **places)
        else:
            summary = extend_run(
                options.run,
                directory,
                () if options.tasks is None else load_tasks(options.tasks),
                options.config,
                retrain=options.retrain,
                freeze=options.freeze,
                preempted=preempted,
                **places,
            )
        console.print(results_table(summary), soft_wrap=False)
        console.print(printable(next_command("predict", options.run_dir, "some text")))
        if options.json:
            print_json(summary)
    return 0


def read_options(arguments: Sequence[str]) -> Options:
    """Read the arguments of the subcommand; what they do not say is that of the run.

    Raises:
      UserError: naming what cannot be used.
    """
    rest, weighting_options = split_weighting_options(arguments)
    config = Config()
    if rest and not rest[0].startswith("-"):
        from mtljax.training import extension_config
        from mtljax.training.persistence.run_directory import read_run

        config = extension_config(read_run(Path(rest[0]), warn).config)
    elif not {"-h", "--help", HELP_ALL} & set(rest):
        raise UserError("name a run first: mtljax extend RUN --tasks FILE --run-dir DIR")
    if given(rest, "--steps") is not None:
        config = dataclasses.replace(config, epochs=0.0)
    if weighting_options:
        config = dataclasses.replace(config, weighting_options=weighting_options)
    default = _with_default(config)
    return parse(Options, "extend", rest, default=default, help_text=lambda: _help_text(config))


def _help_text(config: Config) -> str:
    what = (
        "Add tasks to a trained run, in a new run directory, or train heads of it anew. Settings "
    )
    what += "that are not given are those of the run."
    added = (
        ("--tasks FILE", "tasks file (YAML) with the tasks to be added"),
        ("--run-dir DIR", "directory of the new run"),
        ("--retrain NAME", "a task of the run whose head is trained anew, in place of --tasks"),
        ("--best-of-each", "take the head of each task from that task's own best step"),
        ("--no-freeze", "train all tasks together, from where the run ended"),
        ("--data-dir DIR", "directory of data sets, prepared or files"),
        ("--json", "print the summary as JSON, and the progress to stderr"),
    )
    groups = (("the tasks", added), short_help.settings(config)[1])
    return short_help.text("extend RUN --tasks FILE --run-dir DIR", what, groups, config)


def _with_default(config: Config) -> Options:
    return dataclasses.replace(Options(run=tyro.MISSING, run_dir=tyro.MISSING), config=config)
