"""``mtljax compare``: several runs on the same texts side by side."""

import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.table import Table

from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import (
    Output,
    cache_directory,
    data_directory,
    parse,
    print_json,
    printable,
)
from mtljax.errors import UserError
from mtljax.json_values import plain_values
from mtljax.local_paths import check_place

if TYPE_CHECKING:
    from mtljax.studies import Comparison


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare the best checkpoints of runs, task by task, on the same texts.

    Values have 95 % intervals over the texts. Differences are to the first run, with paired
    intervals and the probability that chance alone makes one as large. What it does not know is
    how another seed would do: train several, see `mtljax relate`.

    Attributes:
      runs: run directories, two or more.
      split: the part of the data to compare on.
      plot: PNG file for the validation curves of the runs, over each other.
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      cache_dir: directory of the token cache, 'off' for none; the environment's MTLJAX_CACHE_DIR or
        ~/.cache/mtljax by default.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print one JSON object.
    """

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN...")]
    split: Literal["test", "validation", "train"] = "test"
    plot: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "compare", arguments)
    with compile_cache(options.compile_cache):
        return _run(options)


def _run(options: Options) -> int:
    from mtljax.studies import compare, draw_comparison
    from mtljax.training.persistence.remote_run import run_to_read

    if options.plot is not None:
        _check_plot(options.plot)
    runs = [run_to_read(run) for run in options.runs]
    found = compare(
        runs,
        options.split,
        data_directory(options.data_dir),
        cache_directory(options.cache_dir),
    )
    output = Output()
    if options.json:
        print_json(plain_values(found))
    else:
        # Names of runs are long and begin alike; the tables have their numbers.
        for number, run in enumerate(options.runs, 1):
            output.print(printable(f"{number}. {run}"), soft_wrap=True)
        for table in _tables(found):
            output.print(table)
    if options.plot is not None:
        path = draw_comparison(runs, options.plot)
        Output(stderr=options.json).print(printable(f"curves: {path}"))
    return 0


def _check_plot(path: str) -> None:
    check_place("plot", path)
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise UserError("plot: needs the extra 'plot' (matplotlib)") from None


def _tables(found: "Comparison") -> Iterator[Table]:
    from mtljax.training.reporting.progress import format_value

    runs = [f"{number}." for number in range(1, len(found.runs) + 1)]
    metrics = Table("task", "metric", title=f"{found.split}", title_justify="left")
    for run in runs:
        metrics.add_column(run, justify="right")
    for name, task in found.tasks.items():
        values = [
            ""
            if value is None
            else f"{format_value(task.metric, value.value)}\n"
            f"{format_value(task.metric, value.low).removesuffix(' %')} to "
            f"{format_value(task.metric, value.high)}"
            for value in task.values
        ]
        metrics.add_row(printable(name), task.metric.replace("_", " "), *values)
    yield metrics
    differences = Table("task", "run", title="differences to the first run", title_justify="left")
    for column in ("difference", "95 % interval", "p", ""):
        differences.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, task in found.tasks.items():
        for run, one in zip(runs, task.differences, strict=True):
            if one is not None:
                cells = difference_cells(task.metric, one, lower_is_better=task.lower_is_better)
                differences.add_row(printable(name), run, *cells)
        for run, value, one in list(zip(runs, task.values, task.differences, strict=True))[1:]:
            if value is not None and one is None and task.values[0] is not None:
                why = "other tokens: not comparable"
                differences.add_row(printable(name), run, "", "", "", why)
    yield differences
    if found.settings:
        settings = Table("setting", title="settings that differ", title_justify="left")
        for run in runs:
            settings.add_column(run)
        for name, values in found.settings.items():
            settings.add_row(name, *(printable(str(value)) for value in values))
        yield settings


def difference_cells(metric: str, one: Any, *, lower_is_better: bool) -> tuple[str, str, str, str]:
    """A difference in words: its size, its interval, p, and which way it goes."""
    from mtljax.training.reporting.progress import SHARES

    factor = 100 if metric in SHARES else 1

    def signed(value: float) -> str:
        return f"{factor * value:+.1f}" if factor == 100 else f"{value:+.4g}"

    better = (one.value < 0) == lower_is_better
    sure = one.low > 0 or one.high < 0
    verdict = ("better" if better else "worse") if sure and one.value else "not told apart"
    interval = f"{signed(one.low)} to {signed(one.high)}"
    return signed(one.value), interval, p_value(one.p), verdict


def p_value(p: float) -> str:
    """A p-value for people.

    >>> p_value(0.0005), p_value(0.25)
    ('< 0.001', '0.250')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
