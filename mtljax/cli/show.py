"""``mtljax show``: a run at a glance."""

import dataclasses
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mtljax.cli.options import (
    Output,
    cache_directory,
    data_directory,
    next_command,
    parse,
    print_json,
    printable,
    warn,
)
from mtljax.local_paths import check_place


@dataclasses.dataclass(frozen=True)
class Options:
    """Show a run, finished or not: settings, curves, best step, results, environment.

    With --html also as a page, with confusions, calibration and wrong answers on a split: one file
    that opens from disk.

    Attributes:
      run: run directory.
      json: print one JSON object, with the values of all curves.
      html: file of the page.
      split: of the data, whose texts the page shows.
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      cache_dir: directory of the token cache, 'off' for none; the environment's MTLJAX_CACHE_DIR or
        ~/.cache/mtljax by default.
    """

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    html: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    split: Literal["validation", "test", "train"] = "validation"
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "show", arguments)
    if options.html is not None:
        check_place("--html", options.html)
    from mtljax.training.persistence.remote_run import run_to_read
    from mtljax.training.reporting.overview import overview
    from mtljax.training.reporting.progress import results_table

    directory = run_to_read(options.run)
    found = overview(directory)
    if options.html is not None:
        _write_page(options, directory, options.html)
    if options.json:
        curves = [curve._asdict() for curve in found.curves]
        print_json({**found._asdict(), "curves": curves})
        return 0
    console = Output()
    for line in _head(options.run, found):
        print(printable(line))
    for line in _curves(found, console.width):
        print(printable(line))
    if found.summary:
        print()
        console.print(results_table(found.summary))
        for line in textwrap.wrap(_environment(found.summary), console.width):
            print(printable(line))
    else:
        print("not finished: the same mtljax train goes on with it")
    print(printable(next_command("train", "--config", directory / "config.yaml")))
    return 0


def _write_page(options: Options, run: Path, path: str) -> None:
    from mtljax.inference import load_run
    from mtljax.studies import write_run_page

    write_run_page(
        load_run(run, warn=warn),
        path,
        options.split,
        data_directory(options.data_dir),
        cache_directory(options.cache_dir),
    )
    print(printable(f"page: {path}"), file=sys.stderr, flush=True)


def _head(path: str, found: Any) -> Iterator[str]:
    best = f", the best is {found.best_step:,}" if found.best_step is not None else ""
    yield f"{path}: {found.steps:,} steps{best}"
    yield f"  preset    {found.preset}"
    for place, (name, value) in enumerate(found.settings.items()):
        yield f"  {'settings' if place == 0 else '':<10}{name} {value}"
    for place, (name, kind) in enumerate(found.tasks.items()):
        yield f"  {'tasks' if place == 0 else '':<10}{name} ({kind})"
    yield ""


def _curves(found: Any, width: int) -> Iterator[str]:
    """A line a curve: what it is of, its first value, its bars, its last value."""
    from mtljax.training.reporting.overview import BARS, PLAIN_BARS, sparkline
    from mtljax.training.reporting.progress import format_value

    encoding = (sys.stdout.encoding or "").lower()
    bars = BARS if encoding.startswith("utf") else PLAIN_BARS
    names = [f"{curve.task} {curve.name.replace('_', ' ')}" for curve in found.curves]
    longest = min(max(map(len, names), default=0), 32)
    for name, curve in zip(names, found.curves, strict=True):
        first, last = (format_value(curve.name, curve.values[at]) for at in (0, -1))
        line = sparkline(curve.values, max(8, min(width, 120) - longest - 25), bars)
        yield f"  {name[:longest]:<{longest}} {first:>9}  {line}  {last}"


def _environment(summary: Any) -> str:
    versions = [f"{name} {version}" for name, version in summary.get("versions", {}).items()]
    seconds = f"{summary.get('wall_seconds', 0):,.0f} s"
    return f"on {summary.get('device')}, {seconds} of steps; {', '.join(versions)}"
