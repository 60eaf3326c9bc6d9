"""What a structure of sharing makes of the parameters of a run that had none."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures import PRIVATE, SHARING, structure_of


def begun_structure(
    sharing: SharingConfig, encoder: EncoderConfig, params: Mapping[str, Any], tasks: Sequence[str]
) -> dict[str, Any]:
    """The parameters of a run as those that a structure begins with, where it moves any.

    Of ``private_layers`` each task has a copy of the upper layers. What other structures add is
    not among them: it is drawn.

    Args:
      sharing: the structure.
      encoder: the shape of the encoder.
      params: of a run; with a structure they stay as they are.
      tasks: names of the tasks that have parts of their own.

    Returns:
      A tree like `params`, with a part ``private`` by task where layers are.
    """
    divide = structure_of(sharing).divide
    if divide is None or PRIVATE in params or SHARING in params["shared"]:
        return dict(params)
    shared, private = divide(sharing, encoder, params["shared"], tasks)
    return {**params, "shared": shared, **({PRIVATE: private} if private else {})}


def without_added(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without what a structure has added, if others lack it, beside which it is drawn.

    Args:
      there: an encoder or a head of a run that is started from.
      here: of this run.
    """
    return {name: part for name, part in here.items() if name != SHARING or name in there}
