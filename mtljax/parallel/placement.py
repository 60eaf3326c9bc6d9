"""Task parallelism: the input groups that each index along the axis ``task`` works on."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from jax.sharding import Mesh

from mtljax.parallel.mesh import present_axes
from mtljax.parallel.task_exchange import exchanged_bytes, stacked_bytes

GroupsByIndex = tuple[tuple[str, ...], ...]
"""For each index along the axis ``task``, the names of its input groups."""


class TaskPlacement(NamedTuple):
    """Tasks on groups of devices.

    Attributes:
      mesh: with the axes `mtljax.parallel.AXES`, of which ``model`` has one device.
      groups_by_index: for each index along the axis ``task``, its input groups.
      sharded: whether the shared parameters are stored as `stored_specs` says; else replicated.
      dtype: in which gradients travel to the devices that combine them, and updates back; that of
        each leaf if None.
    """

    mesh: Mesh
    groups_by_index: GroupsByIndex
    sharded: bool = False
    dtype: Any = None

    @property
    def task_axis(self) -> str | None:
        """The name of the axis of tasks, None if it has one device."""
        return "task" if self.mesh.shape["task"] > 1 else None

    @property
    def data_axis(self) -> str | None:
        """The name of the axis of rows, None if it has one device."""
        return "data" if self.mesh.shape["data"] > 1 else None

    @property
    def axes(self) -> tuple[str, ...]:
        """Both, in the order in which a dimension of a parameter is split over them."""
        return present_axes(self.mesh, ("data", "task"))


def divide_groups(
    groups: Mapping[str, Sequence[str]], count: int, kinds: Mapping[str, Hashable]
) -> GroupsByIndex:
    """Divides input groups among indices of the axis ``task``, so that all have as many tasks.

    Args:
      groups: the tasks of each input group.
      count: indices.
      kinds: for each group, what its encoder is compiled for; groups of one kind get the same
        position in the lists, where one trace of the encoder serves them.

    Returns:
      For each index the names of its groups.

    Raises:
      ValueError: they cannot be divided.

    >>> divide_groups({"a": ["x"], "b": ["y"], "c": ["z"], "d": ["w"]}, 2, dict.fromkeys("abcd"))
    (('a', 'c'), ('b', 'd'))
    """
    tasks = sum(map(len, groups.values()))
    if tasks % count:
        raise ValueError(f"{tasks} tasks cannot be divided among {count} devices of the task axis")
    by_size: dict[int, list[str]] = {}
    for name, names in groups.items():
        by_size.setdefault(len(names), []).append(name)
    by_index: list[list[str]] = [[] for _ in range(count)]
    for size, names in by_size.items():
        if len(names) % count:
            raise ValueError(
                f"{len(names)} input groups of {size} task{'s' * (size > 1)} cannot be divided "
                f"among {count} devices of the task axis"
            )
        # Groups of one kind next to each other, dealt out in turn: equal positions, equal kinds.
        order = list(dict.fromkeys(kinds[name] for name in names))
        by_kind = sorted(names, key=lambda name: order.index(kinds[name]))
        for number, name in enumerate(by_kind):
            by_index[number % count].append(name)
    return tuple(map(tuple, by_index))


class PlacementChoice(NamedTuple):
    """What was chosen.

    Attributes:
      groups_by_index: see `TaskPlacement`; None for all tasks on all devices.
      reason: why, in one line.
    """

    groups_by_index: GroupsByIndex | None
    reason: str


def choose_placement(
    mesh: Mesh,
    groups: Mapping[str, Sequence[str]],
    kinds: Mapping[str, Hashable],
    size: int,
    *,
    rows: Mapping[str, int],
) -> PlacementChoice:
    """Chooses tasks on groups of devices if the input groups divide and fewer bytes are sent.

    Args:
      mesh: with the axes `mtljax.parallel.AXES`.
      groups: the tasks of each input group.
      kinds: see `divide_groups`.
      size: bytes of the shared parameters.
      rows: number of rows of each input group's batch: the devices of one index wait for those
        with the largest.

    Returns:
      The choice and its reason.
    """
    task, data = mesh.shape["task"], mesh.shape["data"]
    if mesh.shape["model"] > 1:
        return PlacementChoice(None, "the axis of features has several devices")
    if task == 1:
        return PlacementChoice(None, "the axis of tasks has one device")
    try:
        by_index = divide_groups(groups, task, kinds)
    except ValueError as error:
        return PlacementChoice(None, str(error))
    if len(set(rows.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in rows.items())
        return PlacementChoice(None, f"input groups have unlike batches: rows {shown}")
    tasks = sum(map(len, groups.values()))
    exchanged = exchanged_bytes(size, tasks, task, data)
    stacked = stacked_bytes(size, tasks, task, data)
    shown = f"{exchanged / 1e6:.3g} MB sent by each device in a step, not {stacked / 1e6:.3g} MB"
    return PlacementChoice(by_index if exchanged < stacked else None, shown)
