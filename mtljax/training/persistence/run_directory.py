"""The run directory: what a run needs to be repeated, resumed and used."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.data import Layout, MultitaskData, Tokenizer, load_tokenizer, save_tokenizer
from mtljax.errors import UserError
from mtljax.presets import Config, differences, dump_config, parse_config
from mtljax.tasks import Task, dump_tasks, load_tasks
from mtljax.tasks.dataset import dump_dataset
from mtljax.training.persistence.atomic_write import finite, replace_text

CONFIG, TASKS, TOKENIZER, LAYOUT = "config.yaml", "tasks.yaml", "tokenizer.json", "layout.json"
SUMMARY, CHECKPOINTS, GENERATED = "summary.json", "checkpoints", "generated"
_END = "...\n"  # how a YAML document ends
_DEVICES = "parallel."  # what a run may go on with another setting of


class RunFiles(NamedTuple):
    """What is read back from a run directory."""

    config: Config
    tasks: tuple[Task, ...]
    tokenizer: Tokenizer
    layout: Layout


def holds_run(directory: Path) -> bool:
    """Whether a run was begun there: `config.yaml` is written last.

    Raises:
      UserError: if the place cannot be looked at.
    """
    try:
        return (directory / CONFIG).exists()
    except OSError as error:
        raise UserError(f"run directory {directory}: {error.strerror or error}") from None


def begin(directory: Path) -> None:
    """Make the directory.

    Raises:
      UserError: if it cannot be made or written, or holds files of something else.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for place in (directory, directory / CHECKPOINTS):
            if place.is_dir():
                probe = place / ".writable"
                probe.touch()
                probe.unlink()
        ours = {TASKS, TOKENIZER, LAYOUT}
        others = sorted(
            path.name
            for path in directory.iterdir()
            if path.name not in ours and not path.name.startswith(".")
        )
    except OSError as error:
        raise UserError(f"run directory {directory}: {error.strerror or error}") from None
    if others and not holds_run(directory):
        raise UserError(
            f"run directory {directory}: holds {others[0]!r}, which is no run; choose another"
        )


def write_run(directory: Path, config: Config, tasks: Sequence[Task], data: MultitaskData) -> None:
    """Write the files that define a run; `config.yaml` last, as the sign that all are there.

    Raises:
      UserError: if they cannot be written.
    """
    try:
        save_tokenizer(data.tokenizer, directory / TOKENIZER)
        replace_text(directory / LAYOUT, json.dumps(_layout(data), ensure_ascii=False))
        replace_text(directory / TASKS, dump_tasks(tasks))
        replace_text(directory / CONFIG, dump_config(config) + _END)
    except OSError as error:
        raise UserError(f"run directory {directory}: {error.strerror or error}") from None


def check_shared(directory: Path, patience: float = 60.0) -> None:
    """Check that this process sees the run that another one has begun.

    Args:
      directory: of the run.
      patience: seconds that a network file system is given to show it.

    Raises:
      UserError: if it does not.
    """
    until = time.monotonic() + patience
    while not holds_run(directory):
        if time.monotonic() > until:
            raise UserError(
                f"run directory {directory}: the first process has begun a run there that is not "
                "seen here; it must be on a file system that all processes share"
            )
        time.sleep(0.2)


def read_run(directory: Path) -> RunFiles:
    """Read back what `write_run` wrote.

    Raises:
      UserError: naming the file that is missing or damaged.
    """
    if not holds_run(directory):
        raise UserError(f"{directory}: no run there ({CONFIG} is missing)")
    config = read_config(directory)
    tasks = load_tasks(directory / TASKS)
    tokenizer = load_tokenizer(directory / TOKENIZER)
    path = directory / LAYOUT
    try:
        layout = Layout.from_json(json.loads(path.read_text(encoding="utf-8"))["layout"], tasks)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({_short(error)})") from None
    return RunFiles(config, tasks, tokenizer, layout)


def read_config(directory: Path) -> Config:
    """Read the configuration of a run.

    Raises:
      UserError: naming the file, if it is damaged.
    """
    path = directory / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
        config = parse_config(text)
        # Cut between two fields it is still YAML, and the rest would silently be the defaults.
        if not text.endswith(_END) and text != dump_config(config):
            raise UserError("is cut off")
        return config
    except (OSError, UserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {_short(error)}") from None


def check_same_run(directory: Path, config: Config, tasks: Sequence[Task]) -> None:
    """Check that a directory holds a run of this very configuration, on whatever devices.

    Raises:
      UserError: naming the fields that differ, with both values.
    """
    found = [
        f"{name} ({old!r} there, {new!r} asked for)"
        for name, (old, new) in differences(read_config(directory), config).items()
        if not name.startswith(_DEVICES)
    ]
    there = {task.name: task for task in load_tasks(directory / TASKS)}
    asked = {task.name: task for task in tasks}
    for name in {**there, **asked}:
        if name not in asked or name not in there:
            place = "only there" if name in there else "only asked for"
            found.append(f"task {name!r} ({place})")
        elif there[name] != asked[name]:
            old, new = _fields(there[name]), _fields(asked[name])
            found += [
                f"task {name!r} field {field} ({old[field]!r} there, {new[field]!r} asked for)"
                for field in new
                if old[field] != new[field]
            ]
    if not found and list(there) != list(asked):
        found.append("the order of the tasks")
    if found:
        raise UserError(
            f"run directory {directory}: holds another configuration, which differs in "
            f"{', '.join(found)}; choose another --run-dir"
        )


def _fields(task: Task) -> dict[str, Any]:
    return {**vars(task), "sources": {s.name: dump_dataset(s) for s in task.sources}}


def check_same_data(directory: Path, data: MultitaskData) -> None:
    """Check that the data is what the run was begun with.

    Raises:
      UserError: if the content of a data set, sizes, classes or shapes differ.
    """
    try:
        there = json.loads((directory / LAYOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{directory / LAYOUT}: cannot be read ({_short(error)})") from None
    now = json.loads(json.dumps(_layout(data)))
    for name, digest in now["sources"].items():
        before = there.get("sources", {}).get(name)
        # A run of an older version has none.
        if before is not None and digest is not None and before != digest:
            raise UserError(
                f"run directory {directory}: the content of data set {name!r} is another than "
                "when the run was begun; choose another --run-dir"
            )
    if {**there, "sources": None} == {**now, "sources": None}:
        return
    for group, splits in now["examples"].items():
        for split, count in splits.items():
            before = there.get("examples", {}).get(group, {}).get(split)
            if before != count:
                raise UserError(
                    f"run directory {directory}: its data has changed, {group} {split} had "
                    f"{before} examples and has {count}"
                )
    raise UserError(f"run directory {directory}: its data has changed (classes or shapes)")


def write_summary(directory: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json`, the sign that a run is complete."""
    text = json.dumps(finite(summary), indent=1, ensure_ascii=False) + "\n"
    try:
        replace_text(directory / SUMMARY, text)
    except OSError as error:
        raise UserError(f"{directory / SUMMARY}: {error.strerror or error}") from None


def read_summary(directory: Path) -> dict[str, Any] | None:
    """The summary of a complete run, None where there is none."""
    path = directory / SUMMARY
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
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
