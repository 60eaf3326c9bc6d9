"""Heads that several tasks have together."""

from collections.abc import Mapping, Sequence

from mtljax.errors import UserError
from mtljax.tasks.choices import loss_name
from mtljax.tasks.task import Task


def tasks_by_head(tasks: Sequence[Task]) -> dict[str, list[Task]]:
    """The tasks of each shared head, by its name, in their order."""
    heads: dict[str, list[Task]] = {}
    for task in tasks:
        if task.head is not None:
            heads.setdefault(task.head, []).append(task)
    return heads


def check_shared_heads(
    tasks: Sequence[Task], classes: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Check that tasks with one head predict the same: kind, loss, constraints and classes.

    Args:
      tasks: all tasks.
      classes: by task the names of its classes, where the data was read.

    Raises:
      UserError: naming the head and two tasks that differ.
    """
    for name, (first, *others) in tasks_by_head(tasks).items():
        for task in others:
            where = f"head {name!r}: tasks {first.name!r} and {task.name!r}"
            for what, one, two in (
                ("kinds", first.kind, task.kind),
                ("losses", loss_name(first), loss_name(task)),
                ("values of 'constrained'", first.constrained, task.constrained),
            ):
                if one != two:
                    raise UserError(f"{where} have other {what}, {one} and {two}")
            if classes is not None and tuple(classes[first.name]) != tuple(classes[task.name]):
                raise UserError(f"{where} have other classes, {_differ(classes, first, task)}")


def _differ(classes: Mapping[str, Sequence[str]], first: Task, task: Task) -> str:
    one, two = classes[first.name], classes[task.name]
    if set(one) == set(two):
        return "in another order; 'classes' of their features sets it"
    only = [(first, set(one) - set(two)), (task, set(two) - set(one))]
    owner, names = next((who, names) for who, names in only if names)
    return f"such as {min(names)!r}, which {owner.name!r} alone has"
