"""``mtljax tune``: search settings within a budget of time."""

import dataclasses
import re
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
from mtljax.cli.presets import default_preset, read_with_preset
from mtljax.cli.processes import ProcessOptions, joined
from mtljax.cli.xla_flags import set_xla_flags
from mtljax.errors import UserError
from mtljax.local_paths import check_local, check_place
from mtljax.presets import Config

if TYPE_CHECKING:
    from mtljax.studies import Trial, Tuned

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Options:
    """Search learning rate, dropout, weight decay and task weights within a budget of time.

    Takes the options of 'mtljax train', which are the first settings that are tried; others are
    drawn around them. As many as the budget allows are trained for a ninth of the steps, the best
    third of them for a third, and the best third of these for all, each from the beginning; where
    short runs are hardly cheaper than whole ones, all have whole runs. Called again with the same
    options, or another budget, it goes on where it was left. 'best.yaml' in its directory is
    what 'mtljax train --config' takes.

    Attributes:
      tasks: tasks file (YAML); without one, the preset's own tasks on embedded data.
      budget: of time, such as 90s, 30m or 2h30m.
      search_dir: directory of the search; searches/PRESET by default, with the name of the tasks
        file where it is given.
      settings: that are tried at most.
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
    budget: str = "30m"
    search_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    settings: int = 27
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options, tasks, notes = read_with_preset(
        Options, "tune", arguments, default=default_preset(arguments), help_text=_help_text
    )
    seconds = seconds_of(options.budget)
    check_local("search directory", options.search_dir)
    set_xla_flags(options.config.parallel.xla_flags)
    stem = f"-{Path(options.tasks).stem}" if options.tasks else ""
    directory = Path(options.search_dir or f"searches/{options.config.preset}{stem}")
    check_place("search directory", directory, directory=True)
    console = Output(stderr=options.json, soft_wrap=True)

    def on_trial(trial: "Trial") -> None:
        line = f"{trial.name}: {trial.share:.0%} of the steps, score {trial.score:.4f}, "
        console.print(printable(f"{line}{trial.seconds:.0f} s"))

    with (
        joined(ProcessOptions(), "tune", directory) as preempted,
        compile_cache(options.compile_cache),
    ):
        from mtljax.studies import tune

        for line in notes:
            console.print(printable(line))
        found = tune(
            options.config,
            tasks,
            directory,
            seconds=seconds,
            most=options.settings,
            data_dir=data_directory(options.data_dir),
            cache_dir=cache_directory(options.cache_dir),
            on_trial=on_trial,
            preempted=preempted,
        )
    console.print(_table(found), soft_wrap=False)
    for line in _lines(found, directory):
        console.print(printable(line))
    if options.json:
        print_json(_plain(found, directory))
    return 0


def seconds_of(budget: str) -> float:
    """The seconds of a budget.

    Raises:
      UserError: if it is not a number with a unit, or several of them, or no time at all.

    >>> seconds_of("90s"), seconds_of("2h30m"), seconds_of("1.5m")
    (90.0, 9000.0, 90.0)
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", budget)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(map("".join, parts)) != budget or not seconds:
        raise UserError(f"--budget {budget!r}: expected a time such as 90s, 30m or 2h30m")
    return seconds


def _help_text(config: Config) -> str:
    what = "Search learning rate, dropout, weight decay and task weights by successive halving, "
    what += "from scores on validation. Called again with the same options, it goes on where it "
    what += "was left."
    search = (
        ("--budget TIME", "such as 90s, 30m or 2h30m (30m)"),
        ("--settings N", "that are tried at most (27)"),
        ("--search-dir DIR", "searches/PRESET by default, with the name of the tasks file"),
        ("--json", "print what was found as JSON, and the progress to stderr"),
    )
    groups = (("the search", search), *short_help.settings(config, by_tasks=True))
    return short_help.text("tune [--tasks FILE] [--budget TIME] [OPTIONS]", what, groups, config)


def _table(found: "Tuned") -> Table:
    table = Table("run", "steps", "score", "seconds", title="validation", title_justify="left")
    best = sorted(found.trials, key=lambda trial: (-trial.share, -trial.score))
    for trial in best[:_SHOWN]:
        cells = (f"{trial.share:.0%}", f"{trial.score:.4f}", f"{trial.seconds:.0f}")
        table.add_row(trial.name + ("" if trial.settings else ", as given"), *cells)
    return table


def _lines(found: "Tuned", directory: Path) -> list[str]:
    count = len({trial.settings for trial in found.trials})
    cost = f"{len(found.trials)} runs of {count} settings in {found.seconds:.0f} s"
    name = found.best.name
    which = "the settings that were given" if found.best.settings == 0 else f"those of {name}"
    return [
        f"best: {which}, score {found.best.score:.4f} on validation; {cost}",
        f"run: {directory / name}",
        next_command("train", "--config", directory / "best.yaml"),
    ]


def _plain(found: "Tuned", directory: Path) -> dict[str, Any]:
    return {
        "best": found.best._asdict(),
        "given": found.given._asdict(),
        "config": str(directory / "best.yaml"),
        "tasks": str(directory / "tasks.yaml"),
        "run": str(directory / found.best.name),
        "seconds": round(found.seconds, 3),
        "trials": [trial._asdict() for trial in found.trials],
    }
