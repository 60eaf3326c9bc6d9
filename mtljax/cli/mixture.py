"""``mtljax mixture``: search fixed rates of the input groups by small runs and a regression."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.table import Table

from mtljax.cli import short_help
from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import (
    Output,
    cache_directory,
    data_directory,
    next_command,
    print_json,
    printable,
)
from mtljax.cli.presets import read_with_preset
from mtljax.cli.processes import ProcessOptions, joined
from mtljax.cli.xla_flags import set_xla_flags
from mtljax.local_paths import check_local, check_place
from mtljax.presets import Config

if TYPE_CHECKING:
    from mtljax.data import MultitaskData
    from mtljax.studies import MixtureSearch
    from mtljax.studies.study import Done


@dataclasses.dataclass(frozen=True)
class Options:
    """Search the rates at which the input groups are read (RegMix, Liu et al. 2025).

    Takes the options of 'mtljax train': those of the small runs, whose rates are drawn around those
    of the tasks. A regression of their losses on validation on the rates proposes the best ones;
    'tasks.yaml' in the directory of the search has them. Called again with the same options it goes
    on where it was left.

    Attributes:
      tasks: tasks file (YAML); without one, the preset's own tasks on embedded data.
      runs: small runs that the regression learns from.
      target: the task whose loss counts; without one, the mean over all.
      search_dir: directory of the search; mixtures/PRESET by default, with the name of the tasks
        file where it is given.
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      cache_dir: directory of the token cache, 'off' for none; the environment's MTLJAX_CACHE_DIR or
        ~/.cache/mtljax by default.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print what was found as JSON, and the progress to stderr.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    tasks: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    runs: int = 32
    target: Annotated[str, tyro.conf.arg(metavar="TASK")] = ""
    search_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options, tasks, notes = read_with_preset(Options, "mixture", arguments, help_text=_help_text)
    check_local("search directory", options.search_dir)
    set_xla_flags(options.config.parallel.xla_flags)
    stem = f"-{Path(options.tasks).stem}" if options.tasks else ""
    directory = Path(options.search_dir or f"mixtures/{options.config.preset}{stem}")
    check_place("search directory", directory, directory=True)
    console = Output(stderr=options.json, soft_wrap=True)
    places: dict[str, Any] = {
        "data_dir": data_directory(options.data_dir),
        "cache_dir": cache_directory(options.cache_dir),
    }

    def on_run(number: int, count: int, done: "Done") -> None:
        became = "diverged" if done.summary is None else f"{done.summary['steps']} steps"
        console.print(f"[{number}/{count}] {became}, {done.seconds:.0f} s", highlight=False)

    with (
        joined(ProcessOptions(), "mixture", directory) as preempted,
        compile_cache(options.compile_cache),
    ):
        from mtljax.planning import data_of
        from mtljax.studies import search_mixture, write_mixture

        for line in notes:
            console.print(printable(line))
        data = data_of(options.config, tasks, say=lambda line: console.print(line), **places)
        found = search_mixture(
            options.config,
            tasks,
            data,
            directory,
            count=options.runs,
            target=options.target,
            seed=options.config.seed,
            on_run=on_run,
            preempted=preempted,
            **places,
        )
        file = write_mixture(found, tasks, directory)
    console.print(_table(found, data), soft_wrap=False)
    console.print(_trust(found))
    console.print(printable(next_command("train", "--tasks", file)))
    if options.json:
        print_json(_plain(found, file))
    return 0


def _help_text(config: Config) -> str:
    what = "Search the rates at which the input groups are read: small runs at rates drawn around "
    what += "those of the tasks, and a regression of their losses on validation. Called again with "
    what += "the same options, it goes on where it was left."
    search = (
        ("--runs N", "small runs that the regression learns from (32)"),
        ("--target TASK", "whose loss counts; without one, the mean over all"),
        ("--search-dir DIR", "mixtures/PRESET by default, with the name of the tasks file"),
        ("--json", "print what was found as JSON, and the progress to stderr"),
    )
    groups = (("the search", search), *short_help.settings(config))
    return short_help.text("mixture [--tasks FILE] [--runs N] [OPTIONS]", what, groups, config)


def _table(found: "MixtureSearch", data: "MultitaskData") -> Table:
    table = Table("input group", title="rates", title_justify="left")
    for column in ("now", "proposed"):
        table.add_column(column, justify="right")
    now = data.rates()
    for name, rate in zip(found.groups, found.proposal.rates, strict=True):
        table.add_row(printable(name), f"{now[name]:.3f}", f"{rate:.3f}")
    return table


def _trust(found: "MixtureSearch") -> str:
    correlation = found.proposal.correlation
    line = f"each run, predicted from the others: correlation {correlation:.2f}"
    return f"{line}; rates say little here" if correlation < 0.3 else line


def _plain(found: "MixtureSearch", file: Path) -> dict[str, Any]:
    rates = dict(zip(found.groups, found.proposal.rates.tolist(), strict=True))
    return {
        "rates": rates,
        "tasks": found.by_task,
        "correlation": float(found.proposal.correlation),
        "runs": len(found.losses),
        "file": str(file),
    }
