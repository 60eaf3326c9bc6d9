"""What each method reads, costs and is for, from its docstring and what it asks for."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from mtljax import aggregation, weighting

COSTS = {
    "inner_losses": "per-task gradients, inner steps and validation gradients",
    "validation_gradients": "per-task gradients, an inner step and validation gradients",
    "cross_gramian": "per-task gradients of two batches, and their products",
    "gradients": "per-task gradients, and work on every coordinate of them",
    "gramian": "per-task gradients, and their T x T products",
    "gramian_diagonal": "per-task gradients, and their norms",
    "validation_losses": "one gradient, and at times a forward pass on validation data",
    "losses_after": "one gradient, and a forward pass after the step",
    "losses": "one gradient of the weighted sum",
}
"""What a step costs by what the method reads; the first that it reads decides."""


class MethodCard(NamedTuple):
    """A method in short.

    Attributes:
      name: as on the command line.
      what: the first line of its docstring.
      reads: signals of the step, in the order of `COSTS`; ``gradients`` are those of every task.
      costs: what a step computes for it, with a batch for each task.
      when: when to use it.
      options: its keyword arguments by name, with their defaults; None where one has to be given.
      source: the full name of the function.
    """

    name: str
    what: str
    reads: tuple[str, ...]
    costs: str
    when: str
    options: dict[str, Any]
    source: str


def method_cards() -> dict[str, MethodCard]:
    """The cards of all methods, in the order of what a step costs, then by name.

    >>> method_cards()["upgrad"].reads
    ('gramian',)
    """
    made = {name: _card(name, factory, False) for name, factory in weighting.METHODS.items()}
    for name, factory in aggregation.METHODS.items():
        made.setdefault(name, _card(name, factory, True))
    order = [*COSTS.values()][::-1]
    return dict(sorted(made.items(), key=lambda item: (order.index(item[1].costs), item[0])))


def _card(name: str, factory: Callable[..., Any], on_gradients: bool) -> MethodCard:
    text = inspect.getdoc(factory) or ""
    parameters = inspect.signature(factory).parameters
    options = {
        option: None if parameter.default is inspect.Parameter.empty else parameter.default
        for option, parameter in parameters.items()
        if option != "num_tasks"
    }
    if on_gradients:
        required = {"gradients", *aggregation.REQUIRES.get(name, ())}
    else:
        # What has no default are weights of the tasks.
        needed = [p for p in parameters.values() if p.default is inspect.Parameter.empty]
        required = factory(*[(1.0,) for _ in needed]).requires
    reads = tuple(signal for signal in COSTS if signal in required)
    return MethodCard(
        name=name,
        what=_plain(text.partition("\n\n")[0]),
        reads=reads,
        costs=COSTS[reads[0]],
        when=_paragraph(text, "When to use: "),
        options=options,
        source=f"mtljax.{'aggregation' if on_gradients else 'weighting'}.{name}",
    )


def _paragraph(text: str, begin: str) -> str:
    return _plain(text.partition(begin)[2].partition("\n\n")[0])


def _plain(text: str) -> str:
    """In one line, without the marks of code."""
    return re.sub(r"\s+", " ", text.replace("`", "")).strip()
