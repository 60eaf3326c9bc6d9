"""A family of pretrained models: how its configuration is read, and what its tensors are called."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mtljax.modules.config import DecoderConfig, EncoderConfig
from mtljax.pretrained.fields import Fields
from mtljax.pretrained.name_map import NameMap


class Shape(NamedTuple):
    """What a configuration says of a model.

    Attributes:
      encoder: the shape of the encoder, without dropout.
      vocabulary: rows of the word table.
      max_positions: positions of a text at most; 0 for no limit.
      causal: whether positions see none after them.
      tied: of a language model, whether its output table is the word table.
      decoder: of a model that answers, the shape of what writes; None where there is none.
      answer_start: the id that an answer begins with.
    """

    encoder: EncoderConfig
    vocabulary: int
    max_positions: int = 0
    causal: bool = False
    tied: bool = True
    decoder: DecoderConfig | None = None
    answer_start: int = 0


class Family(NamedTuple):
    """One family.

    Attributes:
      model_types: what `config.json` calls its models.
      shape: reads the configuration.
      name_map: the tensors of a model of that shape.
    """

    model_types: tuple[str, ...]
    shape: Callable[[Fields], Shape]
    name_map: Callable[[Shape], NameMap]


ACTIVATIONS: Mapping[str, Any] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""What transformers calls the activations."""
