"""Loading of all data sets that some tasks read, each once."""

import os
from collections import defaultdict
from collections.abc import Sequence

from mtljax.data.catalogue.load_source import load_source
from mtljax.data.sources.bad_rows import BadRows
from mtljax.data.sources.concatenation import combine
from mtljax.data.sources.source import Source
from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.tasks.dataset import Dataset
from mtljax.tasks.task import Task


def load_sources(
    tasks: Sequence[Task],
    data_dir: str | os.PathLike[str] | None = None,
    bad_rows: BadRows = "stop",
) -> dict[str, Source]:
    """Loads what some tasks read, each data set once.

    Args:
        tasks: tasks with unique names.
        data_dir: where data sets in TFDS format lie.
        bad_rows: what a malformed row of a file does.

    Returns:
        For each task, by its `source_name`, its data set, or its several data sets as one.

    Raises:
        UserError: with the task, for a data set that does not exist or cannot be read.
    """
    # What all tasks together read of each data set, so that it is loaded, and checked, once. Sets
    # that differ in their names alone are read alike, so that the same rows are held out of each.
    described: dict[str, Dataset | None] = {}
    wanted: dict[object, set[str]] = defaultdict(set)
    required: dict[object, set[str]] = defaultdict(set)
    classes: dict[object, set[str]] = defaultdict(set)
    for task in tasks:
        descriptions = {source.name: source for source in task.sources}
        for name in task.datasets:
            description = descriptions.get(name)
            if described.setdefault(name, description) != description:
                raise UserError(f"task {task.name!r}: source {name!r} is described in two ways")
            key = _content(name, description)
            wanted[key].update(task.features)
            required[key].update(task.parts)
            if task.targets is not None and KINDS[task.kind].has_classes:
                classes[key].add(task.targets)
    loaded: dict[str, Source] = {}
    sources: dict[str, Source] = {}
    for task in tasks:
        try:
            for name in task.datasets:
                if name not in loaded:
                    key = _content(name, described[name])
                    loaded[name] = load_source(
                        described[name] or name,
                        data_dir,
                        bad_rows=bad_rows,
                        wanted=wanted[key],
                        required=required[key],
                        classes=classes[key],
                    )
        except UserError as error:
            raise UserError(f"task {task.name!r}: {error}") from error
        if task.source_name not in sources:
            sources[task.source_name] = combine([loaded[name] for name in task.datasets])
    return sources


def _content(name: str, description: Dataset | None) -> object:
    # Equal for data sets of the same content under two names.
    return name if description is None else tuple((vars(description) | {"name": ""}).items())
