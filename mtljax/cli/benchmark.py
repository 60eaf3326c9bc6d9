"""``mtljax benchmark``: measure what a step of a configuration costs on the devices at hand."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from mtljax.cli import short_help
from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import Output, cache_directory, data_directory, print_json, printable
from mtljax.cli.presets import read_with_preset
from mtljax.cli.xla_flags import set_xla_flags
from mtljax.errors import UserError
from mtljax.presets import Config
from mtljax.tasks import Task

if TYPE_CHECKING:
    from mtljax.planning import Device, Measured

_MOST = 10**6


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure the train step of a configuration on the devices at hand.

    Takes the options of 'mtljax train', and writes nothing. Several names, separated by commas, in
    --weighting are measured one after the other. Steps are warm, on batches that are on the devices
    already; figures are medians, with quartiles.

    Attributes:
      tasks: tasks file (YAML); without one, the preset's own tasks on embedded data.
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      cache_dir: directory of the token cache, 'off' for none; the environment's MTLJAX_CACHE_DIR or
        ~/.cache/mtljax by default.
      rounds: times that are measured, of which the median is taken.
      round_steps: steps in each of them.
      warm_up: steps before the first.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print the figures as JSON, and the progress to stderr.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    tasks: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    rounds: int = 10
    round_steps: int = 5
    warm_up: int = 3
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options, tasks = read_options(arguments)
    set_xla_flags(options.config.parallel.xla_flags)
    with compile_cache(options.compile_cache):
        return _run(options, tasks)


def _run(options: Options, tasks: tuple[Task, ...]) -> int:
    from mtljax.planning import Amount, check_measured, data_of, devices_at_hand, measure
    from mtljax.training.method import make_method

    check_measured(options.config)
    variants = [
        dataclasses.replace(options.config, weighting=name)
        for name in options.config.weighting.split(",")
    ]
    for config in variants:
        make_method(config, len(tasks))  # names a bad one before any is measured
    console = Output(stderr=options.json, soft_wrap=True)
    amount = Amount(options.rounds, options.round_steps, options.warm_up)
    data_dir, cache_dir = data_directory(options.data_dir), cache_directory(options.cache_dir)
    data = data_of(options.config, tasks, data_dir, cache_dir, lambda line: console.print(line))
    device, found = devices_at_hand(options.config.parallel), []
    for config in variants:
        found.append(measure(config, data, device, amount))
        console.print(printable(f"{config.weighting}: {_step_text(found[-1])}"))
    console.print(benchmark_table(device, found), soft_wrap=False)
    if options.json:
        rows = [one._asdict() for one in found]
        print_json({"device": device._asdict(), **amount._asdict(), "weightings": rows})
    return 0


def read_options(arguments: Sequence[str]) -> tuple[Options, tuple[Task, ...]]:
    """Read the arguments of the subcommand, as those of ``train`` are read.

    Raises:
      UserError: naming what cannot be used.
    """
    options, tasks, _ = read_with_preset(Options, "benchmark", arguments, help_text=_help_text)
    for option in ("rounds", "round_steps", "warm_up"):
        if not 1 <= (value := getattr(options, option)) <= _MOST:
            raise UserError(f"{option}: must be at least 1 and at most {_MOST}, got {value}")
    return options, tasks


def _help_text(config: Config) -> str:
    what = "Measure the train step of a configuration on the devices at hand: tokens a second, "
    what += "time, model FLOPs utilisation, memory, compile time. Several weightings, separated by "
    what += "commas, are measured one after the other."
    measured = (
        ("--rounds N", "times that are measured; the median is taken"),
        ("--round-steps N", "steps in each of them"),
        ("--warm-up N", "steps before the first"),
        ("--json", "print the figures as JSON, and the progress to stderr"),
    )
    groups = (("what is measured", measured), *short_help.settings(config))
    return short_help.text("benchmark [--tasks FILE] [OPTIONS]", what, groups, config)


def _step_text(one: "Measured") -> str:
    text = f"{1e3 * one.step_seconds:,.4g} ms a step"
    if one.measured_step_seconds is None:
        return text
    measured = f"{1e3 * one.measured_step_seconds:,.4g} ms"
    return f"{text} on average; one in {one.measured_every} measures gradients, {measured}"


def benchmark_table(device: "Device", found: "Sequence[Measured]") -> Table:
    """A table with a row for each weighting."""
    peak = f"{device.peak_flops / 1e12:,.3g} TFLOP/s ({device.peak_from})"
    table = Table(
        title=f"a step on {device.count} x {device.kind}, peak {peak}", title_justify="left"
    )
    table.add_column("weighting", no_wrap=True)
    for name in ("ms", "quartiles", "tokens/s", "MFU", "GiB each", "compiled s"):
        table.add_column(name, justify="right")
    for one in found:
        low, high = (1e3 * value for value in one.step_seconds_spread)
        table.add_row(
            printable(one.weighting),
            f"{1e3 * one.step_seconds:,.4g}",
            f"{low:,.4g}-{high:,.4g}",
            f"{one.tokens_per_second:,.0f}",
            f"{100 * one.mfu:.1f} %",
            f"{one.memory_bytes_per_device / 2**30:.2f}",
            f"{one.compile_seconds:.1f}",
        )
    return table
