"""The run directory: the files by which a run can be repeated, resumed and used."""

import dataclasses
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.data import Layout, MultitaskData, Tokenizer, load_tokenizer, save_tokenizer
from mtljax.digests import NAME, content_digest, file_digest
from mtljax.errors import UserError
from mtljax.json_values import nan_to_none
from mtljax.presets import Config, differences, dump_config, parse_config
from mtljax.tasks import Task, dump_tasks, load_tasks
from mtljax.tasks.dataset import dump_dataset
from mtljax.training.persistence.atomic_write import replace_text
from mtljax.training.persistence.run_digests import (
    replace_file,
    run_digests,
    unchanged,
    write_digests,
)
from mtljax.yaml_values import MAX_CHARACTERS

CONFIG, TASKS, TOKENIZER, LAYOUT = "config.yaml", "tasks.yaml", "tokenizer.json", "layout.json"
FILES = (CONFIG, TASKS, TOKENIZER, LAYOUT)
SUMMARY, CHECKPOINTS, GENERATED = "summary.json", "checkpoints", "generated"
_END = "...\n"  # the end of a YAML document
_DEVICES = "parallel."  # the settings that may change when a run is resumed
_LENGTH = ("steps", "epochs")  # these may grow
_PATIENCE = "stopping.patience"


class RunFiles(NamedTuple):
    """What is read back from a run directory.

    Attributes:
      config: the configuration.
      tasks: the tasks, in the order of the losses.
      tokenizer: trained on the training splits.
      layout: input groups, outputs and static shapes of the data.
    """

    config: Config
    tasks: tuple[Task, ...]
    tokenizer: Tokenizer
    layout: Layout


def holds_run(directory: Path) -> bool:
    """Whether a directory holds a run, finished or not: `config.yaml` is written last.

    Raises:
      UserError: if the directory cannot be read.
    """
    try:
        return (directory / CONFIG).exists()
    except OSError as error:
        raise UserError(f"run directory {directory}: {error.strerror or error}") from None


def make_directory(directory: Path) -> None:
    """Make a run directory, or check that one can be written.

    Raises:
      UserError: if it cannot be made or written, or holds other files than those of a run.
    """
    where = os.path.realpath(directory)
    # What writes the arrays takes a backslash for a slash, gs: for a bucket, and paths for UTF-8.
    if odd := re.search(r"\\|[\ud800-\udfff]|(?<=/)gs:(?=/)", f"{where}/"):
        raise UserError(
            f"run directory {where!r}: checkpoints cannot be written there, for the {odd[0]!r} in "
            "its path; choose another --run-dir"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for folder in (directory, directory / CHECKPOINTS):
            if folder.is_dir():
                probe = folder / ".writable"
                probe.touch()
                probe.unlink(missing_ok=True)  # of another start at the same moment
        # Of a run that ended before `config.yaml` was written.
        unfinished = {TASKS, TOKENIZER, LAYOUT, NAME}
        others = sorted(
            path.name
            for path in directory.iterdir()
            if path.name not in unfinished and not path.name.startswith(".")
        )
    except OSError as error:
        raise UserError(f"run directory {directory}: {error.strerror or error}") from None
    if others and not holds_run(directory):
        raise UserError(
            f"run directory {directory}: holds {others[0]!r}, which is no run; choose another"
        )


def write_run(directory: Path, config: Config, tasks: Sequence[Task], data: MultitaskData) -> None:
    """Write the files that define a run; `config.yaml` last, as the sign that all are there.

    Args:
      directory: of the run.
      config: the configuration.
      tasks: the tasks.
      data: with the tokenizer and the layout.

    Raises:
      UserError: if they cannot be written.
    """
    description = dump_tasks(tasks)
    if len(description) > MAX_CHARACTERS:
        raise UserError(
            f"the tasks take {len(description)} characters, of at most {MAX_CHARACTERS} that are "
            "read back; name classes in files of their own"
        )
    try:
        save_tokenizer(data.tokenizer, directory / TOKENIZER)
        replace_text(directory / LAYOUT, json.dumps(_layout(data), ensure_ascii=False))
        replace_text(directory / TASKS, description)
        settings = dump_config(config) + _END
        digests = {name: [file_digest(directory / name)] for name in (TOKENIZER, LAYOUT, TASKS)}
        write_digests(directory, {**digests, CONFIG: [content_digest(settings.encode())]})
        replace_text(directory / CONFIG, settings)
    except OSError as error:
        raise UserError(f"run directory {directory}: {error.strerror or error}") from None


def check_shared(directory: Path, patience: float = 60.0) -> None:
    """Wait until this process sees the files that the first process has written.

    Args:
      directory: of the run.
      patience: seconds that a network file system is given to show them.

    Raises:
      UserError: if it does not see them by then.
    """
    deadline = time.monotonic() + patience
    while not holds_run(directory):
        if time.monotonic() > deadline:
            raise UserError(
                f"run directory {directory}: the first process has begun a run there that is not "
                "seen here; it must be on a file system that all processes share"
            )
        time.sleep(0.2)


def read_run(directory: Path, warn: Callable[[str], None] = lambda text: None) -> RunFiles:
    """Read back what `write_run` wrote, if it is as it was written.

    Args:
      directory: of the run.
      warn: is called with one line where that cannot be checked: the run is of an older version.

    Raises:
      UserError: naming the file that is missing or damaged.
    """
    if not holds_run(directory):
        raise UserError(f"{directory}: no run there ({CONFIG} is missing)")
    config = read_config(directory)
    if run_digests(directory) is None:
        warn(f"{directory} has no {NAME}, as of an older version: it is read without a check")
    tasks = load_tasks(unchanged(directory, TASKS))
    tokenizer = load_tokenizer(unchanged(directory, TOKENIZER))
    layout_path = directory / LAYOUT
    saved = _read_layout(directory)
    try:
        layout = Layout.from_json(saved["layout"], tasks)
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes a reader say
        raise UserError(f"{layout_path}: cannot be read ({_short(error)})") from None
    return RunFiles(config, tasks, tokenizer, layout)


def source_digests(directory: Path) -> dict[str, str | None]:
    """The digest of what each data set of a run holds, and of how it is read and split, by name.

    Raises:
      UserError: naming the file that is missing or damaged.
    """
    return dict(_read_layout(directory).get("sources", {}))


def _read_layout(directory: Path) -> dict[str, Any]:
    path = unchanged(directory, LAYOUT)
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        counts = [saved.get("sources", {}), saved.get("examples", {})]
        if not all(isinstance(part, dict) for part in [*counts, *counts[1].values()]):
            raise ValueError("is no layout")
        return saved
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({_short(error)})") from None


def read_config(directory: Path) -> Config:
    """Read the configuration of a run.

    Raises:
      UserError: naming the file, if it is damaged.
    """
    path = unchanged(directory, CONFIG)
    try:
        text = path.read_text(encoding="utf-8")
        config = parse_config(text)
        # A file that ends between two fields is still YAML, and the others would silently be the
        # defaults.
        if not text.endswith(_END) and text != dump_config(config):
            raise UserError("is cut off")
        return config
    except (OSError, UserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {_short(error)}") from None


def check_same_run(directory: Path, config: Config, tasks: Sequence[Task]) -> Config:
    """Check that a directory holds a run of this configuration, except for `config.parallel`.

    `steps` and `epochs` may be other ones too, unless both are the same setting and it is smaller,
    and so may the patience.

    Args:
      directory: of a run.
      config: the configuration that is asked for.
      tasks: the tasks that are asked for.

    Returns:
      The configuration of the run.

    Raises:
      UserError: naming the fields that differ, with both values.
    """
    begun = read_config(directory)
    longer = not (begun.epochs or config.epochs) and config.steps >= begun.steps
    longer |= min(begun.epochs, config.epochs) > 0 and config.epochs >= begun.epochs
    longer |= (begun.epochs > 0) != (config.epochs > 0)  # known when the data is read
    differing = [
        f"{name} ({old!r} there, {new!r} asked for)"
        for name, (old, new) in differences(begun, config).items()
        if not name.startswith(_DEVICES) and not (longer and name in _LENGTH) and name != _PATIENCE
    ]
    saved = {task.name: task for task in load_tasks(unchanged(directory, TASKS))}
    asked = {task.name: task for task in tasks}
    for name in {**saved, **asked}:
        if name not in asked or name not in saved:
            where = "only there" if name in saved else "only asked for"
            differing.append(f"task {name!r} ({where})")
        elif saved[name] != asked[name]:
            old, new = _fields(saved[name]), _fields(asked[name])
            differing += [
                f"task {name!r} field {field} ({old[field]!r} there, {new[field]!r} asked for)"
                for field in new
                if old[field] != new[field]
            ]
    if not differing and list(saved) != list(asked):
        differing.append("the order of the tasks")
    if differing:
        by_data = begun.preset == config.preset == "auto"
        why = ", of which 'auto' chooses some by the data as they are now" if by_data else ""
        raise UserError(
            f"run directory {directory}: holds another configuration, which differs in "
            f"{', '.join(differing)}{why}; choose another --run-dir"
        )
    return begun


def extend_run(directory: Path, begun: Config, config: Config, steps: int) -> None:
    """Have a run continue to more steps; a summary that it has is kept under another name.

    Args:
      directory: of the run.
      begun: its configuration.
      config: with more steps or epochs, or another patience.
      steps: that the run did, which name the file of its summary: `summary-STEPS.json`.

    Raises:
      UserError: if its files cannot be written.
    """
    longer = dataclasses.replace(
        begun, steps=config.steps, epochs=config.epochs, stopping=config.stopping
    )
    try:
        # First, since it would say that the longer run is complete.
        if (directory / SUMMARY).exists():
            (directory / SUMMARY).replace(directory / f"summary-{steps}.json")
        replace_file(directory, CONFIG, dump_config(longer) + _END)
    except OSError as error:
        raise UserError(f"run directory {directory}: {error.strerror or error}") from None


def _fields(task: Task) -> dict[str, Any]:
    return {**vars(task), "sources": {s.name: dump_dataset(s) for s in task.sources}}


def check_same_data(directory: Path, data: MultitaskData) -> None:
    """Check that the data is that which the run was started with.

    Args:
      directory: of the run.
      data: as it was loaded now.

    Raises:
      UserError: if the content of a data set, sizes, classes or shapes differ.
    """
    saved = _read_layout(directory)
    now = json.loads(json.dumps(_layout(data)))
    for name, digest in now["sources"].items():
        before = saved.get("sources", {}).get(name)
        # A run of an older version has none.
        if before is not None and digest is not None and before != digest:
            raise UserError(
                f"run directory {directory}: the content of data set {name!r}, or how it is "
                "read and split, is another than when the run was begun; choose another --run-dir"
            )
    if {**saved, "sources": None} == {**now, "sources": None}:
        return
    for group, splits in now["examples"].items():
        for split, count in splits.items():
            before = saved.get("examples", {}).get(group, {}).get(split)
            if before != count:
                raise UserError(
                    f"run directory {directory}: its data has changed, {group} {split} had "
                    f"{before} examples and has {count}"
                )
    raise UserError(f"run directory {directory}: its data has changed (classes or shapes)")


def write_summary(directory: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json`, the sign that a run is complete; NaN and infinity become null.

    Raises:
      UserError: if it cannot be written.
    """
    text = json.dumps(nan_to_none(summary), indent=1, ensure_ascii=False) + "\n"
    try:
        replace_file(directory, SUMMARY, text)
    except OSError as error:
        raise UserError(f"{directory / SUMMARY}: {error.strerror or error}") from None


def read_summary(
    directory: Path, warn: Callable[[str], None] = lambda text: None
) -> dict[str, Any] | None:
    """Read the summary of a complete run, None where there is none that is as it was written.

    Args:
      directory: of the run.
      warn: is called with one line about one that has changed.
    """
    path = directory / SUMMARY
    if not path.exists():
        return None
    try:
        summary = json.loads(unchanged(directory, SUMMARY).read_text(encoding="utf-8"))
        if run_digests(directory) is not None:
            return summary
        numbers = [summary["steps"], summary["best_step"]]
        for splits in summary["tasks"].values():
            numbers += [number for values in splits.values() for number in values.values()]
        if all(number is None or isinstance(number, int | float) for number in numbers):
            return summary
    except (OSError, UserError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    warn(f"{path} is damaged: it is made again")
    return None


def _layout(data: MultitaskData) -> dict[str, Any]:
    examples = {
        group.name: {
            split: len(data.examples[group.name][split]) for split in data.splits(group.name)
        }
        for group in data.groups
    }
    return {"layout": data.layout.to_json(), "examples": examples, "sources": data.fingerprints}


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
