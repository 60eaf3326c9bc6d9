"""``mtljax methods``: what each method of weighting the tasks reads, costs and is for."""

import dataclasses
import inspect
import itertools
import textwrap
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import tyro

from mtljax.cli.options import Output, parse, print_json, printable
from mtljax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """List the methods of weighting the tasks: what they read, cost and are for.

    Attributes:
      name: a method, whose whole description is shown: formula, degenerate cases, options.
      json: print one JSON object a method.
    """

    name: Annotated[
        tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")
    ] = None
    json: tyro.conf.FlagCreatePairsOff[bool] = False


def run(arguments: Sequence[str]) -> int:
    """Run the subcommand and return its exit code."""
    options = parse(Options, "methods", arguments)
    from mtljax.tasks import suggestion
    from mtljax.training.method_cards import method_cards

    cards = method_cards()
    if options.name is not None and options.name not in cards:
        raise UserError(f"method {options.name!r}: unknown{suggestion(options.name, cards)}")
    chosen = cards.values() if options.name is None else (cards[options.name],)
    if options.json:
        for card in chosen:
            print_json({**card._asdict(), "options": _values(card.options)})
    elif options.name is None:
        _print_table(chosen)
    else:
        print(_in_full(cards[options.name]))
    return 0


def _print_table(cards: Iterable[Any]) -> None:
    width = min(Output().width, 120)
    for costs, group in itertools.groupby(cards, key=lambda card: card.costs):
        print(f"{costs}:")
        for card in group:
            lines = textwrap.wrap(printable(card.when), width - 17)
            for name, line in itertools.zip_longest([card.name], lines, fillvalue=""):
                print(f"  {name:<13}{line}")
        print()
    print("next: mtljax methods NAME, or mtljax train --weighting NAME")


def _in_full(card: Any) -> str:
    """A method with its card and its docstring, but for the example."""
    from mtljax import aggregation, weighting

    factories = {**aggregation.METHODS, **weighting.METHODS}
    text = inspect.getdoc(factories[card.name]) or ""
    options = [f"--weighting.{name.replace('_', '-')}" for name in card.options]
    head = [
        f"{card.name}: {card.what}",
        f"  reads   {', '.join(card.reads)}",
        f"  costs   {card.costs}",
        f"  train   mtljax train --weighting {card.name}",
        f"  options {', '.join(options) or 'none'}",
        f"  Python  {card.source}",
        "",
    ]
    return "\n".join([*head, *text.partition("\n\n")[2].partition("\n>>> ")[0].splitlines()])


def _values(options: dict[str, Any]) -> dict[str, Any]:
    simple = (bool, int, float, str)
    return {
        name: value if value is None or isinstance(value, simple) else str(value)
        for name, value in options.items()
    }
