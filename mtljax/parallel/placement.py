"""Which input groups each index along the axis of tasks works on, and whether that pays."""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from jax.sharding import Mesh

from mtljax.parallel.mesh import present_axes
from mtljax.parallel.task_exchange import placed_bytes, stacked_bytes

Places = tuple[tuple[str, ...], ...]


class Placement(NamedTuple):
    """Tasks on groups of devices.

    Attributes:
      mesh: with the axes `mtljax.parallel.AXES`, that of features with one device.
      places: for each index along the axis of tasks, its input groups.
      in_parts: whether the shared parameters are kept as `kept_specs` says, not whole.
    """

    mesh: Mesh
    places: Places
    in_parts: bool = False

    @property
    def task(self) -> str | None:
        """The axis of tasks, None if it has one device."""
        return "task" if self.mesh.shape["task"] > 1 else None

    @property
    def data(self) -> str | None:
        """The axis of rows, None if it has one device."""
        return "data" if self.mesh.shape["data"] > 1 else None

    @property
    def axes(self) -> tuple[str, ...]:
        """Both, in the order in which a dimension is cut."""
        return present_axes(self.mesh, ("data", "task"))


def even_places(
    groups: Mapping[str, Sequence[str]], count: int, kinds: Mapping[str, Hashable]
) -> Places:
    """Divides input groups among devices, so that all have equally much to do.

    Args:
      groups: the tasks of each input group.
      count: places.
      kinds: of each group, what its encoder is compiled for; groups of one kind stand at the same
        place in the lists, where one trace serves them.

    Returns:
      For each place its groups.

    Raises:
      ValueError: they cannot be divided.

    >>> even_places({"a": ["x"], "b": ["y"], "c": ["z"], "d": ["w"]}, 2, dict.fromkeys("abcd"))
    (('a', 'c'), ('b', 'd'))
    """
    tasks = sum(map(len, groups.values()))
    if tasks % count:
        raise ValueError(f"{tasks} tasks cannot be divided among {count} devices of the task axis")
    by_size: dict[int, list[str]] = {}
    for name, names in groups.items():
        by_size.setdefault(len(names), []).append(name)
    places: list[list[str]] = [[] for _ in range(count)]
    for size, names in by_size.items():
        if len(names) % count:
            raise ValueError(
                f"{len(names)} input groups of {size} task{'s' * (size > 1)} cannot be divided "
                f"among {count} devices of the task axis"
            )
        seen = list(dict.fromkeys(kinds[name] for name in names))
        ordered = sorted(names, key=lambda name: seen.index(kinds[name]))
        for place, name in enumerate(ordered):
            places[place % count].append(name)
    return tuple(map(tuple, places))


class Choice(NamedTuple):
    """What was chosen: `places` or None, and why, in one line."""

    places: Places | None
    reason: str


def choose_placement(
    mesh: Mesh,
    groups: Mapping[str, Sequence[str]],
    kinds: Mapping[str, Hashable],
    size: int,
    *,
    rows: Mapping[str, int],
) -> Choice:
    """Tasks on groups of devices if the input groups divide and fewer bytes are sent.

    Args:
      mesh: with the axes `mtljax.parallel.AXES`.
      groups: the tasks of each input group.
      kinds: see `even_places`.
      size: bytes of the shared parameters.
      rows: of each input group's batch: the devices of one place wait for those of the largest.
    """
    task, data = mesh.shape["task"], mesh.shape["data"]
    if mesh.shape["model"] > 1:
        return Choice(None, "the axis of features has several devices")
    if task == 1:
        return Choice(None, "the axis of tasks has one device")
    try:
        places = even_places(groups, task, kinds)
    except ValueError as error:
        return Choice(None, str(error))
    if len(set(rows.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in rows.items())
        return Choice(None, f"input groups have unlike batches: rows {shown}")
    tasks = sum(map(len, groups.values()))
    placed, stacked = placed_bytes(size, tasks, task, data), stacked_bytes(size, tasks, task, data)
    shown = f"{placed / 1e6:.3g} MB sent by each device in a step, not {stacked / 1e6:.3g} MB"
    return Choice(places if placed < stacked else None, shown)
