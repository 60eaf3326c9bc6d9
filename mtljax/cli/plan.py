"""``mtljax plan``: estimate what a step costs on devices that need not be at hand."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from mtljax.cli import short_help
from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import Output, data_directory, print_json
from mtljax.cli.presets import given, read_with_preset
from mtljax.cli.xla_flags import set_xla_flags
from mtljax.errors import UserError
from mtljax.planning.assumed_layout import NOTHING_ASSUMED, Assumed
from mtljax.presets import Config
from mtljax.tasks import Task

PLACEMENTS = ("auto", "off", "task")


@dataclasses.dataclass(frozen=True)
class Options:
    """Compile the train step of a configuration for other devices, and show what it costs.

    Nothing is run. Takes the options of 'mtljax train'; --parallel.data is by default what the
    other axes leave. Several names, separated by commas, in --weighting and --placements are
    compared. The exit code is 1 if one of them does not fit.

    Attributes:
      topology: v4:AxBxC, v5e:AxB, v5p:AxBxC or v6e:AxB, in chips (needs the extra 'tpu'), or a
        number of devices of this host.
      tasks: tasks file (YAML); without one, the preset's own tasks on embedded data.
      data_dir: directory of data sets; the environment's MTLJAX_DATA_DIR by default. The first
        10,000 rows of each are read, none with --assume.classes.
      assume: sizes that are assumed instead of read from the data.
      placements: values of --parallel.placement to compare; by default that of the configuration.
      memory: memory of a device in GiB; by default that of the chip.
      suggest: if the step fits, look for the largest batch that fits.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print the plan as JSON, and the progress to stderr.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    topology: str = "1"
    tasks: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    assume: Assumed = NOTHING_ASSUMED
    placements: str = ""
    memory: float = 0.0
    suggest: tyro.conf.FlagCreatePairsOff[bool] = False
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options, tasks = read_options(arguments)
    set_xla_flags(options.config.parallel.xla_flags)
    with compile_cache(options.compile_cache):
        return _run(options, tasks)


def _run(options: Options, tasks: tuple[Task, ...]) -> int:
    variants = _variants(options)
    _set_up(options.topology)
    from mtljax import planning
    from mtljax.planning import (
        fit_text,
        largest_batch,
        make_fit,
        measured_text,
        mesh_text,
        plan_table,
    )

    console = Output(stderr=options.json, soft_wrap=True)
    topology, devices = planning.read_topology(options.topology)
    layout = planning.layout_of(
        options.config, tasks, options.assume, data_directory(options.data_dir)
    )
    memory = round(options.memory * 2**30) or None
    where = (topology, devices, memory)
    plans = []
    for config in variants:
        plans.append(planning.plan(config, layout, *where))
        console.print(f"{config.weighting}, {mesh_text(plans[-1])}: {fit_text(plans[-1])}")
    console.print(plan_table(plans), soft_wrap=False)
    for plan in plans:
        if told := measured_text(plan):
            console.print(f"{plan.weighting}: {told}")

    # Of the first that does not fit, or with --suggest of the first, other settings are tried.
    trials = []
    for config, plan in zip(variants, plans, strict=True):
        search = make_fit if not plan.fits else largest_batch if options.suggest else None
        if search is not None:
            trials = search(config, layout, *where, console.print)
            for trial in trials:
                console.print(
                    f"{config.weighting} with {' '.join(trial.options)}: {fit_text(trial.plan)}"
                )
            if not trials or not (plan.fits or trials[-1].plan.fits):
                console.print(f"{config.weighting}: nothing that was tried makes it fit")
            break

    if options.json:
        more: dict[str, Any] = (
            {} if len(plans) == 1 else {"compared": [plan._asdict() for plan in plans]}
        )
        fitting = [trial for trial in trials if trial.plan.fits]
        if trials:
            more["suggestion"] = (
                {"options": list(fitting[-1].options), **fitting[-1].plan._asdict()}
                if fitting
                else None
            )
        print_json({**plans[0]._asdict(), **more})
    return 0 if all(plan.fits for plan in plans) else 1


def read_options(arguments: Sequence[str]) -> tuple[Options, tuple[Task, ...]]:
    """Read the arguments of the subcommand, as those of ``train`` are read.

    Raises:
      UserError: naming what cannot be used.
    """
    axes = {axis: given(arguments, f"--parallel.{axis}") for axis in ("task", "data", "model")}

    def adapt(config: Config) -> Config:
        if axes["data"] is not None or {"0", "-1"} & set(axes.values()):
            return config
        return dataclasses.replace(config, parallel=dataclasses.replace(config.parallel, data=0))

    options, tasks, _ = read_with_preset(
        Options, "plan", arguments, adapt=adapt, help_text=_help_text
    )
    if options.assume.classes < 0 or options.assume.vocabulary < 0 or options.assume.texts < 1:
        raise UserError("assume: sizes must be positive, or 0 to read them from the data")
    if options.memory < 0:
        raise UserError(f"memory: must be positive, got {options.memory}")
    return options, tasks


def _help_text(config: Config) -> str:
    what = "Compile the train step of a configuration for other devices, and show what it costs; "
    what += "nothing is run. The exit code is 1 if it does not fit."
    devices = (
        ("--topology NAME", "v4:AxBxC, v5e:AxB, v5p:AxBxC or v6e:AxB, or a number of devices (1)"),
        ("--parallel.task N", "groups of devices with different tasks"),
        ("--parallel.model N", "devices that share the parameters"),
        ("--placements A,B", "auto, off, task: compared"),
        ("--assume.classes N", "of the tasks, whose data is then not read"),
        ("--memory GIB", "of a device; by default that of the chip"),
        ("--suggest", "look for the largest batch that fits"),
        ("--json", "print the plan as JSON, and the progress to stderr"),
    )
    groups = (("the devices", devices), *short_help.settings(config))
    return short_help.text("plan [--topology NAME] [OPTIONS]", what, groups, config)


def _variants(options: Options) -> list[Config]:
    """The configurations that are compared."""
    placements = [word for word in options.placements.split(",") if word]
    for word in placements:
        if word not in PLACEMENTS:
            raise UserError(f"placements: {word!r} is not one of {', '.join(PLACEMENTS)}")
    solver = options.config.optimizer.solver
    if solver != "adamw":
        raise UserError(f"optimizer.solver {solver!r}: makes no steps that could be planned")
    variants = []
    for weighting in options.config.weighting.split(","):
        for placement in placements or [options.config.parallel.placement]:
            values: dict[str, Any] = {"placement": placement}
            parallel = dataclasses.replace(options.config.parallel, **values)
            variants.append(
                dataclasses.replace(options.config, weighting=weighting, parallel=parallel)
            )
    return variants


def _set_up(topology: str) -> None:
    """Make JAX use the CPU only, with as many devices as the topology names."""
    import jax

    # It is too late once JAX has run something; then the devices are those it has.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_platforms", "cpu")
        if topology.isdecimal() and int(topology) > 1:
            jax.config.update("jax_num_cpu_devices", int(topology))
