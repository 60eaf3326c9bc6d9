"""The preset, or the file, that options start from, and what it chooses by the tasks."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from mtljax.cli.options import data_directory, parse
from mtljax.errors import UserError
from mtljax.local_paths import check_local
from mtljax.presets import (
    AUTO,
    DEPENDED_ON,
    Chooser,
    Config,
    check,
    choose_for,
    default_tasks,
    flatten,
    like_run,
    parse_config,
    preset,
    read_config,
    reasons_of,
)
from mtljax.tasks import Task, load_tasks
from mtljax.yaml_values import read_yaml, read_yaml_file

T = TypeVar("T")


class Begun(NamedTuple, Generic[T]):
    """What the arguments of a subcommand say.

    Attributes:
      options: an instance of its dataclass, the configuration complete.
      tasks: what is learned.
      notes: why the configuration is as it is, a line each, where the data chose it.
    """

    options: T
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()


def read_with_preset(
    options: type[T],
    command: str,
    arguments: Sequence[str],
    default: str = "small",
    run_dir: str | None = None,
    directory_of: Callable[[T], Path] | None = None,
    adapt: Callable[[Config], Config] = lambda config: config,
    help_text: Callable[[Config], str] | None = None,
) -> Begun[T]:
    """Read the options of a subcommand that has those of a configuration, and the tasks.

    Args:
      options: dataclass with the fields `config`, `tasks` and `data_dir`.
      command: name of the subcommand.
      arguments: what follows it.
      default: the preset where the arguments name none.
      run_dir: directory of a run; the preset of one that is there comes before `default`.
      directory_of: the directory of the run that options ask for. With other `steps` that are said
        a run of `auto` that is there continues, and is evaluated as often as before.
      adapt: changes the configuration before the options do.
      help_text: of a configuration, what ``--help`` shows.

    Raises:
      UserError: naming what cannot be used.
    """
    arguments, weighting_options = split_weighting_options(arguments)
    file, name = given(arguments, "--config"), given(arguments, "--preset")
    if file is None:
        name = _preset_of(run_dir) or default if name is None else name
        begin = functools.partial(_from_preset, name)
    elif name is not None:
        raise UserError("--config: not with --preset, the file says where settings begin")
    else:
        begin = functools.partial(_from_file, file, given(arguments, "--weighting"))
    make: Any = options

    def read(config: Config) -> T:
        config = like_run(config, given(arguments, "--encoder.from-run") or "")
        if weighting_options:
            config = dataclasses.replace(config, weighting_options=weighting_options)
        if given(arguments, "--steps") is not None:
            config = dataclasses.replace(config, epochs=0.0)
        adapted = adapt(config)
        helped = None if help_text is None else functools.partial(help_text, adapted)
        return parse(options, command, arguments, default=make(adapted), help_text=helped)

    first = begin(None)
    found: Any = read(first)
    data_dir = data_directory(found.data_dir)
    tasks = _tasks_of(found, file, first.preset, data_dir)
    if first.preset != AUTO:
        return Begun(found, tasks)
    check(found.config)  # before any data is read
    flat, chosen = flatten(found.config), []
    told = {field: flat[field] for field in DEPENDED_ON if _is_said(arguments, field)}
    there = None if directory_of is None else _run_in(directory_of(found))
    if there is not None and there.preset == AUTO and {"steps", "epochs"} & told.keys():
        told.setdefault("evaluate_every", there.evaluate_every)

    def choose(said: Mapping[str, Any], begun: Config) -> Config:
        chosen.append(
            choose_for(tasks, data_dir, {**said, **told}, found.config.data, found.config.seed)
        )
        return chosen[0].choice.config

    complete: Any = read(begin(choose))
    return Begun(complete, chosen[0].tasks, tuple(reasons_of(chosen[0].choice, complete.config)))


def default_preset(arguments: Sequence[str]) -> str:
    """The preset of a run for which none is named: by the data, where it is told what to learn."""
    encoder = given(arguments, "--encoder.from-run") or given(arguments, "--encoder.pretrained")
    return AUTO if given(arguments, "--tasks") and not encoder else "small"


def _from_preset(name: str, choose: Chooser | None) -> Config:
    config = preset(name).config
    return config if choose is None else choose({}, config)


def _from_file(file: str, weighting: str | None, choose: Chooser | None) -> Config:
    config = read_config(Path(file), choose)
    if weighting not in (None, config.weighting):
        # The options of a method are not those of another.
        config = dataclasses.replace(config, weighting_options={})
    return config


def _tasks_of(
    options: Any, file: str | None, preset_name: str, data_dir: str | None
) -> tuple[Task, ...]:
    if options.tasks is not None:
        check_local("tasks file", options.tasks)
        return load_tasks(options.tasks)
    beside = None if file is None else Path(file).with_name("tasks.yaml")
    if beside is not None and beside.is_file():
        return load_tasks(beside)
    return default_tasks(preset_name, data_dir)


def _preset_of(run_dir: str | None) -> str | None:
    """The preset of the run that is in a directory; None where there is none to be read."""
    found = None if run_dir is None else _run_in(Path(run_dir))
    return None if found is None else found.preset


def _run_in(directory: Path) -> Config | None:
    """The configuration of the run in a directory; None where there is none to be read."""
    try:
        path = directory / "config.yaml"
        return parse_config(read_yaml_file(path)) if path.is_file() else None
    except (OSError, UserError):
        return None  # which is told when the run is looked at


def _is_said(arguments: Sequence[str], field: str) -> bool:
    names = [argument.partition("=")[0].replace("_", "-") for argument in arguments]
    return f"--{field}".replace("_", "-") in names


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


def given(arguments: Sequence[str], option: str) -> str | None:
    """The value that some arguments give an option; None if they do not."""
    value = None
    for i, argument in enumerate(arguments):
        if argument == option:
            value = arguments[i + 1] if i + 1 < len(arguments) else None
        elif argument.startswith(f"{option}="):
            value = argument.removeprefix(f"{option}=")
    return value
