"""Help on one screen for commands that take every setting of a run."""

import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from mtljax.kinds import KINDS
from mtljax.presets import PRESETS, Config, flatten

Group = tuple[str, tuple[tuple[str, str], ...]]
"""A heading, and options with what each does; one without a text stands beside the next."""


def settings(config: Config, by_tasks: bool = False) -> tuple[Group, ...]:
    """What matters of a configuration.

    Args:
      config: the one of which values are shown.
      by_tasks: whether the preset is chosen by the tasks, where they are given and it is not.
    """
    kinds = f"tasks file (YAML): {', '.join(KINDS)}; else tasks on the text in the package"
    presets = f"settings to begin with: {', '.join(PRESETS)}"
    if by_tasks:
        presets += "; auto with --tasks, else"
    methods = "how tasks are weighted, one of `mtljax methods`: mgda, uncertainty, ..."
    return (
        (
            "the data and the model",
            (
                ("--tasks FILE", kinds),
                ("--preset NAME", presets),
                ("--data-dir DIR", "directory of data sets, prepared or files"),
                ("--encoder.kind KIND", "lstm, transformer or linear"),
                ("--encoder.features N", "its width"),
                ("--encoder.layers N", "its depth"),
                ("--encoder.pretrained DIR", "begin with a model in the layout of Hugging Face"),
                ("--sharing.structure NAME", "what tasks share besides the encoder"),
            ),
        ),
        (
            "the training",
            (
                ("--weighting METHOD", methods),
                ("--weighting.OPTION X", "an option of the method: `mtljax methods METHOD`"),
                ("--steps N", "optimization steps"),
                ("--epochs X", "passes over the largest input group, if not 0"),
                ("--batch.tokens N", "of a step"),
                ("--optimizer.learning-rate X", ""),
                ("--seed N", "of parameters, data and dropout"),
            ),
        ),
    )


def text(usage: str, what: str, groups: Iterable[Group], config: Config) -> str:
    """The help: usage, groups of options with the defaults of a configuration, where there is more.

    Args:
      usage: after ``usage: mtljax``.
      what: a paragraph.
      groups: of options.
      config: whose values are the defaults.
    """
    width = max(60, min(shutil.get_terminal_size().columns, 100))
    defaults = {f"--{name.replace('_', '-')}": value for name, value in flatten(config).items()}
    lines = [f"usage: mtljax {usage}", "", *textwrap.wrap(what, width)]
    for heading, options in groups:
        lines += ["", f"{heading}:"]
        for option, meaning in options:
            lines += _option(option, f"{meaning}{_default(option, defaults)}".strip(), width)
    command = usage.split()[0]
    more = f"mtljax {command} --help-all shows all {len(defaults)} settings of a run, by group."
    return "\n".join([*lines, "", *textwrap.wrap(more, width)])


def _option(option: str, meaning: str, width: int) -> list[str]:
    wrapped = textwrap.wrap(meaning, width - 30) or [""]
    return [
        f"  {option if number == 0 else '':<28}{line}".rstrip()
        for number, line in enumerate(wrapped)
    ]


def _default(option: str, defaults: Mapping[str, Any]) -> str:
    value = defaults.get(option.split()[0])
    return "" if value is None or value == "" else f" ({value})"
