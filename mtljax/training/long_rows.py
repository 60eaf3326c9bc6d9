"""What reads the attention of long rows on the devices of a run."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from mtljax.modules.blockwise_attention import LONG
from mtljax.modules.splash_attention import LONGEST
from mtljax.training.model import Model


def read_long_rows(model: Model, devices: Sequence[Any]) -> tuple[Model, str]:
    """The model with the attention of long rows for its devices, and a line that says it.

    Where attention is 'auto', TPUs have the splash kernel; the line is empty where there is
    nothing to say.
    """
    encoder = model.network.encoder
    lengths = [shape.row_length for shape in model.layout.shapes.values()]
    asks = encoder.config.kind == "transformer" and encoder.config.attention == "auto"
    if not asks or max(lengths) < LONG or devices[0].platform != "tpu":
        return model, ""
    long = f"attention of rows of {LONG:,} positions and more"
    positions = encoder.config.architecture.positions
    if positions in ("disentangled", "relative"):
        return model, f"{long}: xla, {positions} positions add a number to each pair"
    if max(lengths) > LONGEST:
        return model, f"{long}: blocks, the splash kernel takes no row longer than {LONGEST:,}"
    network = dataclasses.replace(model.network, encoder=encoder.clone(long="splash"))
    return dataclasses.replace(model, network=network), f"{long}: the splash kernel"
