"""Tasks of several runs or files as those of one."""

from collections.abc import Mapping, Sequence

from mtljax.errors import UserError
from mtljax.tasks.task import Task


def join_tasks(parts: Mapping[str, Sequence[Task]]) -> tuple[Task, ...]:
    """Put tasks together, in order.

    Args:
      parts: tasks by where they are from, which errors name.

    Raises:
      UserError: two tasks have one name, or a source is described in two ways.
    """
    found: dict[str, tuple[str, Task]] = {}
    sources = {}
    for where, tasks in parts.items():
        for task in tasks:
            if task.name in found:
                raise UserError(f"task {task.name!r}: is in {found[task.name][0]} and in {where}")
            found[task.name] = where, task
            for source in task.sources:
                first, known = sources.setdefault(source.name, (where, source))
                if known != source:
                    raise UserError(
                        f"source {source.name!r}: is described in one way in {first}, in another "
                        f"in {where}"
                    )
    return tuple(task for _, task in found.values())
