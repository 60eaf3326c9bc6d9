"""How the step of a run encodes its input groups: all in one pass, or one after the other."""

from collections.abc import Sequence
from typing import Any

from mtljax.errors import UserError
from mtljax.modules.structures import has_private
from mtljax.presets import Config
from mtljax.step.method import Method
from mtljax.step.passes import Passes, choose_passes
from mtljax.step.strategy import why_by_task
from mtljax.training.model import Model
from mtljax.training.step import step_options


def passes_of(
    config: Config, model: Model, method: Method, devices: Sequence[Any], *, placed: bool = False
) -> tuple[Passes, str]:
    """Chooses how the step of a run encodes its input groups.

    Args:
      config: the configuration.
      model: its model.
      method: its method.
      devices: those that share the step.
      placed: whether groups of them work on different tasks.

    Returns:
      The choice, and a line about it; an empty one where there is nothing to choose.

    Raises:
      UserError: the configuration asks for what the method or the devices cannot have.
    """
    by_task = why_by_task(method, step_options(config, model))
    apart = "tasks on groups of devices have passes of their own" if placed else ""
    if has_private(model.network.sharing):
        apart = "tasks have private parameters in the encoder"
    # Between the steps of `every` there is one sum, and losses alone are read of other batches.
    kept = config.weighting_options.get("every", 1) != 1
    try:
        passes, reason = choose_passes(
            config.gradients.passes,
            devices[0].platform,
            len(devices),
            by_task="" if kept else by_task,
            groups_apart=apart,
        )
    except ValueError as error:
        raise UserError(f"gradients.{error}") from None
    if by_task or len(model.layout.groups) == 1:
        return passes, ""
    shown = {"one": "in one pass", "by_group": "one after the other"}[passes]
    return passes, f"{len(model.layout.groups)} input groups {shown}: {reason}"
