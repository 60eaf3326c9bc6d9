"""``mtljax train``: train several tasks in one model, or resume an interrupted run."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from mtljax.cli import short_help
from mtljax.cli.compile_cache import CompileCache, compile_cache
from mtljax.cli.options import Output, cache_directory, data_directory, parse, print_json, printable
from mtljax.cli.processes import ProcessOptions, joined
from mtljax.errors import UserError
from mtljax.presets import (
    Config,
    ProfileWindow,
    default_tasks,
    like_run,
    preset,
    read_config,
)
from mtljax.tasks import Task, load_tasks
from mtljax.yaml_values import read_yaml


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
      tensorboard: write event files too (needs the extra 'tensorboard').
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
    tensorboard: tyro.conf.FlagCreatePairsOff[bool] = False
    profile: ProfileWindow = ProfileWindow()
    hang_seconds: float = 0.0
    compile_cache: CompileCache = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    processes: Annotated[ProcessOptions, tyro.conf.arg(name="parallel")] = ProcessOptions()
    repeated: Annotated[str | None, tyro.conf.arg(name="config", metavar="FILE")] = None


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options, tasks = read_options(arguments)
    directory = Path(options.run_dir or default_run_directory(options))
    with (
        joined(options.processes, "train", directory / "checkpoints") as preempted,
        compile_cache(options.compile_cache),
    ):
        from mtljax.training import train
        from mtljax.training.multihost import is_writer

        console = Output(stderr=options.json, soft_wrap=True)
        summary = train(
            options.config,
            tasks,
            directory,
            data_dir=data_directory(options.data_dir),
            cache_dir=cache_directory(options.cache_dir),
            tensorboard=options.tensorboard,
            console=console,
            preempted=preempted,
            profile=options.profile,
            hang_seconds=options.hang_seconds,
        )
        if is_writer():
            _show(options, directory, summary, console)
    return 0


def _show(options: Options, directory: Path, summary: dict[str, Any], console: Output) -> None:
    from mtljax.training import results_table

    curves = _draw(directory)
    console.print(results_table(summary), soft_wrap=False)
    for line in (curves, *_where(directory)):
        console.print(printable(line))
    if options.json:
        print_json(summary)


def read_options(arguments: Sequence[str]) -> tuple[Options, tuple[Task, ...]]:
    """Read the arguments of the subcommand.

    Args:
      arguments: what follows ``train``.

    Returns:
      The options, their configuration complete, and the tasks to train.

    Raises:
      UserError: naming what cannot be used.
    """
    arguments, name, config = chosen_preset(arguments)
    if given(arguments, "--steps") is not None:
        config = dataclasses.replace(config, epochs=0.0)
    options = parse(
        Options,
        "train",
        arguments,
        default=Options(config),
        help_text=lambda: _help_text(config),
    )
    if not 0 <= options.hang_seconds < math.inf:
        raise UserError(f"hang_seconds: must be at least 0, got {options.hang_seconds}")
    if options.tasks is not None:
        return options, load_tasks(options.tasks)
    if options.repeated is not None:
        beside = Path(options.repeated).with_name("tasks.yaml")
        if beside.is_file():
            return options, load_tasks(beside)
    return options, default_tasks(name, data_directory(options.data_dir))


def _help_text(config: Config) -> str:
    what = "Train several tasks on one shared encoder. Called again with the same options, it "
    what += "resumes the run where it was left."
    outcome = (
        ("--config FILE", "settings and tasks of RUN/config.yaml, to repeat that run"),
        ("--run-dir DIR", "directory of the run; runs/PRESET-seedSEED, or with the tasks' name"),
        ("--evaluate-every N", "steps between evaluations, each of which saves a checkpoint"),
        ("--json", "print the summary as JSON, and the progress to stderr"),
    )
    groups = (*short_help.settings(config), ("what comes of it", outcome))
    return short_help.text("train [--tasks FILE] [OPTIONS]", what, groups, config)


def chosen_preset(arguments: Sequence[str]) -> tuple[list[str], str, Config]:
    """The preset that the arguments start from, with the options of the weighting in it.

    Args:
      arguments: what follows the subcommand.

    Returns:
      The other arguments, the name of the preset, and its configuration.

    Raises:
      UserError: for an option without a value, or an unknown preset.
    """
    rest, weighting_options = split_weighting_options(arguments)
    name = given(rest, "--preset")
    file = given(rest, "--config")
    if file is not None:
        if name is not None:
            raise UserError("--config: not with --preset, the file says where settings begin")
        config = read_config(Path(file))
        name = config.preset
        if given(rest, "--weighting") not in (None, config.weighting):
            # The options of a method are not those of another.
            config = dataclasses.replace(config, weighting_options={})
    else:
        name = "small" if name is None else name
        config = preset(name).config
    config = like_run(config, given(rest, "--encoder.from-run") or "")
    if weighting_options:
        config = dataclasses.replace(config, weighting_options=weighting_options)
    return rest, name, config


def split_weighting_options(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Take ``--weighting.NAME VALUE`` out of the arguments.

    Args:
      arguments: what follows the subcommand.

    Returns:
      The other arguments, and the values by name, read as YAML.

    Raises:
      UserError: if a value is missing or is not YAML.

    >>> split_weighting_options(["--steps", "3", "--weighting.weights", "[1, 2]"])
    (['--steps', '3'], {'weights': [1, 2]})
    """
    rest, options = [], {}
    left = iter(arguments)
    for argument in left:
        name, equals, text = argument.partition("=")
        if not name.startswith("--weighting."):
            rest.append(argument)
            continue
        value = text if equals else next(left, None)
        if value is None or (not equals and value.startswith("--")):
            raise UserError(f"{name}: needs a value")
        option = name.removeprefix("--weighting.").replace("-", "_")
        try:
            options[option], _ = read_yaml(value)
        except UserError as error:
            raise UserError(f"{name}: {value[:200]!r} is not YAML ({error})") from None
        if isinstance(options[option], str):
            # YAML 1.1 reads 1e-3 as a text, since it has no point.
            try:
                options[option] = float(value)
            except ValueError:
                pass
    return rest, options


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


def given(arguments: Sequence[str], option: str) -> str | None:
    """The value that some arguments give an option; None if they do not."""
    value = None
    for i, argument in enumerate(arguments):
        if argument == option:
            value = arguments[i + 1] if i + 1 < len(arguments) else None
        elif argument.startswith(f"{option}="):
            value = argument.removeprefix(f"{option}=")
    return value


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


def _where(directory: Path) -> list[str]:
    return [
        f"run: {directory} (metrics.jsonl, summary.json, checkpoints/)",
        f'next: mtljax predict {directory} "some text"',
    ]
