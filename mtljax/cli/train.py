"""``mtljax train``: train several tasks in one model, or resume an interrupted run."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from mtljax.cli import short_help
from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import (
    Output,
    cache_directory,
    data_directory,
    next_command,
    print_json,
    printable,
    warn,
)
from mtljax.cli.presets import Begun, default_preset, given, read_with_preset
from mtljax.cli.processes import ProcessOptions, joined
from mtljax.cli.xla_flags import set_xla_flags
from mtljax.errors import UserError
from mtljax.local_paths import scheme
from mtljax.presets import Config, ProfileWindow
from mtljax.tasks import Task


@dataclasses.dataclass(frozen=True)
class Options:
    """Train several tasks on one shared encoder.

    Called again with the same options, it resumes the run where it was left. The keyword arguments
    of a weighting follow its name: --weighting random --weighting.seed 3. Giving --steps turns a
    preset's epochs off.

    Attributes:
      tasks: tasks file (YAML); without one, the preset's own tasks on embedded data.
      data_dir: directory of data sets, prepared or files; the environment's MTLJAX_DATA_DIR by
        default.
      run_dir: directory of the run; runs/PRESET-seedSEED by default, with the names of the tasks
        file and of the weighting where they are given.
      cache_dir: directory of the token cache, 'off' for none; the environment's MTLJAX_CACHE_DIR or
        ~/.cache/mtljax by default.
      log_to: where metrics go besides metrics.jsonl: tensorboard, wandb, mlflow; each needs its
        package.
      profile: steps that are traced for xprof and TensorBoard, into RUN/profile.
      hang_seconds: when a step takes longer, print where all threads are on stderr; 0 for never.
      compile_cache: directory where compiled programs are kept for the next start; by default the
        environment's JAX_COMPILATION_CACHE_DIR.
      json: print the summary as JSON, and the progress to stderr.
      processes: which process of a run of several processes this is.
      repeated: config.yaml of a run, or of its form, to begin with in place of a preset; with the
        tasks.yaml beside it where --tasks is not given. The directory is then runs/NAME-again by
        default, NAME being that of the directory it lies in.
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    tasks: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    run_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    cache_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    log_to: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    profile: ProfileWindow = ProfileWindow()
    hang_seconds: float = 0.0
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    processes: Annotated[ProcessOptions, tyro.conf.arg(name="parallel")] = ProcessOptions()
    repeated: Annotated[str | None, tyro.conf.arg(name="config", metavar="FILE")] = None


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options, tasks, notes = begun(arguments)
    set_xla_flags(options.config.parallel.xla_flags)
    with (
        joined(options.processes, "train", Path(_place(options)) / "checkpoints") as preempted,
        compile_cache(options.compile_cache),
    ):
        from mtljax.training import train
        from mtljax.training.multihost import is_writer
        from mtljax.training.persistence.remote_run import run_to_write

        console = Output(stderr=options.json, soft_wrap=True)
        with run_to_write(_place(options), warn) as directory:
            summary = train(
                options.config,
                tasks,
                directory,
                data_dir=data_directory(options.data_dir),
                cache_dir=cache_directory(options.cache_dir),
                log_to=options.log_to,
                console=console,
                preempted=preempted,
                profile=options.profile,
                hang_seconds=options.hang_seconds,
                notes=(*notes, *_copy_note(options, directory)),
            )
            if is_writer():
                _show(options, directory, summary, console)
    return 0


def _show(options: Options, directory: Path, summary: dict[str, Any], console: Output) -> None:
    from mtljax.training import results_table

    curves = _draw(directory)
    console.print(results_table(summary), soft_wrap=False)
    for line in (curves, *_where(_place(options))):
        console.print(printable(line))
    if options.json:
        print_json(summary)


def read_options(arguments: Sequence[str]) -> tuple[Options, tuple[Task, ...]]:
    """The options and the tasks of `begun`."""
    return begun(arguments)[:2]


def begun(arguments: Sequence[str]) -> Begun[Options]:
    """Read the arguments of the subcommand.

    Args:
      arguments: what follows ``train``.

    Returns:
      The options, their configuration complete, the tasks to train, and what to say of them.

    Raises:
      UserError: naming what cannot be used.
    """
    default = default_preset(arguments)
    run_dir = given(arguments, "--run-dir")
    found = read_with_preset(
        Options,
        "train",
        arguments,
        default=default,
        run_dir=None if run_dir is None else str(_settings(run_dir)),
        directory_of=_directory,
        help_text=_help_text,
    )
    if not 0 <= found.options.hang_seconds < math.inf:
        raise UserError(f"hang_seconds: must be at least 0, got {found.options.hang_seconds}")
    return found


def _place(options: Options) -> str | Path:
    """The run directory, which may be of another scheme."""
    return options.run_dir or default_run_directory(options)


def _directory(options: Options) -> Path:
    return _settings(_place(options))


def _copy_note(options: Options, directory: Path) -> list[str]:
    place = _place(options)
    if not scheme(place):
        return []
    return [f"{place}: trained in a copy, {directory}, which is copied there after each checkpoint"]


def _settings(place: str | Path) -> Path:
    """A directory of this machine with the settings of a run, if there is one."""
    if not scheme(place):
        return Path(place)
    from mtljax.training.persistence.remote_run import run_settings

    return run_settings(place)


def _help_text(config: Config) -> str:
    what = "Train several tasks on one shared encoder. Called again with the same options, it "
    what += "resumes the run where it was left."
    outcome = (
        ("--config FILE", "settings and tasks of RUN/config.yaml, to repeat that run"),
        ("--run-dir DIR", "directory of the run; runs/PRESET-seedSEED, or with the tasks' name"),
        ("--evaluate-every N", "steps between evaluations, each of which saves a checkpoint"),
        ("--json", "print the summary as JSON, and the progress to stderr"),
    )
    groups = (*short_help.settings(config, by_tasks=True), ("what comes of it", outcome))
    return short_help.text("train [--tasks FILE] [OPTIONS]", what, groups, config)


def default_run_directory(options: Options) -> str:
    """The directory of a run for which none is given."""
    config = options.config
    if options.repeated is not None:
        return f"runs/{Path(options.repeated).resolve().parent.name}-again"
    parts = [config.preset]
    if options.tasks is not None:
        parts.append(Path(options.tasks).stem)
    if config.weighting != "equal":
        parts.append(config.weighting)
    return f"runs/{'-'.join(parts)}-seed{config.seed}"


def _draw(directory: Path) -> str:
    try:
        from mtljax.training.reporting.plot_curves import draw_curves
        from mtljax.training.reporting.plot_gradients import draw_gradients
        from mtljax.training.reporting.plot_relation import draw_run_relation

        drawn = f"curves: {draw_curves(directory)}"
        for what, draw in (("gradients", draw_gradients), ("relation", draw_run_relation)):
            figure = draw(directory)
            drawn += "" if figure is None else f"; {what}: {figure}"
        return drawn
    except UserError as error:
        return f"curves: not drawn; {error}"
    except OSError as error:
        return f"curves: not drawn; {directory}: {error.strerror or error}"
    except ImportError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        return "curves: not drawn; the extra 'plot' (matplotlib) draws them"


def _where(directory: str | Path) -> list[str]:
    return [
        f"run: {directory} (metrics.jsonl, summary.json, checkpoints/)",
        next_command("predict", directory, "some text"),
    ]
