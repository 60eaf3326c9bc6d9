"""Searches settings with which a configuration fits its devices, or uses more of their memory."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from mtljax.data import Layout
from mtljax.errors import UserError
from mtljax.parallel import Topology
from mtljax.planning.plan import Plan, plan
from mtljax.presets import Config
from mtljax.step.method import reads_gradients
from mtljax.training.method import make_method

_HALVINGS = 4


class Trial(NamedTuple):
    """A change of a configuration, and the costs of the changed one.

    Attributes:
      options: the options of the command line that make the change.
      plan: the plan of the changed configuration.
    """

    options: tuple[str, ...]
    plan: Plan


def make_fit(
    config: Config,
    layout: Layout,
    topology: Topology,
    devices: Sequence[Any],
    memory: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Trial]:
    """Adds one change after the other until the step fits.

    First those that cost time and change no result: rematerialisation, sharded parameters and
    optimizer state (FSDP), tasks on groups of devices; then ever smaller batches.

    Args:
      config: a configuration that does not fit.
      layout: the layout of the data.
      topology: the topology of the devices.
      devices: the devices, from `read_topology`.
      memory: bytes of memory of a device; by default those of its chip.
      say: is called with a line about each change before it is tried.

    Returns:
      What was tried; the last one fits, if any does.
    """
    trials: list[Trial] = []
    options: tuple[str, ...] = ()
    for more, changed, smaller in _changes(config, layout, topology.count):
        say(f"trying {' '.join((*options, *more))}")
        try:
            found = plan(changed, smaller, topology, devices, memory)
        except UserError:
            continue
        options = _merged(options, more)
        trials.append(Trial(options, found))
        if found.fits:
            break
    return trials


def largest_batch(
    config: Config,
    layout: Layout,
    topology: Topology,
    devices: Sequence[Any],
    memory: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Trial]:
    """Doubles the batch of a configuration that fits, as long as it does; see `make_fit`."""
    trials: list[Trial] = []
    tokens = config.batch.tokens
    for _ in range(_HALVINGS):
        tokens, layout = 2 * tokens, _scaled(layout, 2, 1)
        options = ("--batch.tokens", str(tokens))
        say(f"trying {' '.join(options)}")
        found = plan(config, layout, topology, devices, memory)
        trials.append(Trial(options, found))
        if not found.fits:
            break
    return trials


def _changes(
    config: Config, layout: Layout, count: int
) -> Iterator[tuple[tuple[str, ...], Config, Layout]]:
    """The changes in their order, each with those before it: options, configuration, layout."""

    def changed(field: str, **values: Any) -> Config:
        return dataclasses.replace(
            config, **{field: dataclasses.replace(getattr(config, field), **values)}
        )

    if config.encoder.kind == "transformer" and config.encoder.remat != "full":
        config = changed("encoder", remat="full")
        yield ("--encoder.remat", "full"), config, layout
    parallel = config.parallel
    if parallel.sharding == "replicated" and count > 1:
        config = changed("parallel", sharding="fsdp", strategy="jit")
        yield ("--parallel.sharding", "fsdp"), config, layout
    axis = math.gcd(len(layout.tasks), count)
    if (
        reads_gradients(make_method(config, len(layout.tasks)))
        and parallel.task == 1 == parallel.model
        and axis > 1
    ):
        config = changed("parallel", task=axis, data=0, placement="task", strategy="jit")
        yield ("--parallel.task", str(axis), "--parallel.data", "0"), config, layout
    tokens = config.batch.tokens
    for _ in range(_HALVINGS):
        if any(shape.rows % 2 for shape in layout.shapes.values()):
            return
        tokens, layout = tokens // 2, _scaled(layout, 1, 2)
        yield ("--batch.tokens", str(tokens)), config, layout


def _scaled(layout: Layout, times: int, parts: int) -> Layout:
    shapes = {
        name: dataclasses.replace(shape, rows=shape.rows * times // parts)
        for name, shape in layout.shapes.items()
    }
    return dataclasses.replace(layout, shapes=shapes)


def _merged(options: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """Options, of which a later one replaces an earlier one of the same name."""
    pairs = dict(zip(options[::2], options[1::2], strict=True))
    pairs |= dict(zip(more[::2], more[1::2], strict=True))
    return tuple(word for pair in pairs.items() for word in pair)
