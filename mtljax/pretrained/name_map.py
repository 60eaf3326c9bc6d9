"""Which tensors of a file a parameter is made of, and how; both ways."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

LAYERS = "transformer/layers/"
"""Paths of parameters of all layers, stacked along their first axis."""

Form = Literal["matrix", "untransposed", "vector", "table"]
"""A matrix `[out, in]` as PyTorch's linear layers have it, which is transposed; one `[in, out]`; a
vector; or a table, as it is."""


class Entry(NamedTuple):
    """One parameter.

    Attributes:
      path: of the parameter, such as ``transformer/layers/out/kernel``.
      names: the tensors that it is made of, side by side; ``{}`` for the number of a layer.
      form: of each.
      inputs: axes of the parameter, of one layer, that are summed over (of a matrix).
      offset: what is added to the tensor's numbers.
      first_layer: the first layer that has it; those before get ones, which are not read.
    """

    path: str
    names: tuple[str, ...]
    form: Form
    inputs: int = 1
    offset: float = 0.0
    first_layer: int = 0

    @property
    def stacked(self) -> bool:
        """Whether it is stacked over the layers."""
        return self.path.startswith(LAYERS)

    def how(self) -> str:
        """What was done to the tensors, in words."""
        parts = []
        if self.form == "matrix":
            parts.append("transposed")
        if len(self.names) > 1:
            parts.append(f"{len(self.names)} side by side")
        if self.offset:
            parts.append(f"plus {self.offset:g}")
        if self.stacked:
            parts.append("stacked over the layers")
        return ", ".join(parts) or "as it is"

    def tensor_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of each tensor, from that of the parameter (of one layer)."""
        count, size = len(self.names), int(np.prod(shape))
        if self.form == "table":
            return tuple(shape)
        if self.form == "vector":
            return (size // count,)
        before = int(np.prod(shape[: self.inputs]))
        after = size // before // count
        return (before, after) if self.form == "untransposed" else (after, before)

    def to_parameter(self, tensors: Sequence[Any], shape: Sequence[int]) -> Any:
        """The parameter, of one layer, from its tensors."""
        if self.form == "matrix":
            tensors = [np.transpose(tensor) for tensor in tensors]
        axis = 1 if self.form in ("matrix", "untransposed") else 0
        joined = tensors[0] if len(tensors) == 1 else np.stack(tensors, axis)
        parameter = joined.reshape(shape)
        return parameter + self.offset if self.offset else parameter

    def to_tensors(self, parameter: Any) -> list[np.ndarray]:
        """The tensors of a parameter, of one layer."""
        array, count = np.asarray(parameter), len(self.names)
        array = array - self.offset if self.offset else array
        if self.form in ("table", "vector"):
            if self.form == "table":
                return [array]
            return list(array.reshape(count, -1))
        before = int(np.prod(array.shape[: self.inputs]))
        parts = np.moveaxis(array.reshape(before, count, -1), 1, 0)
        return [np.ascontiguousarray(x if self.form == "untransposed" else x.T) for x in parts]


class Left(NamedTuple):
    """Tensors that are not read, for a reason.

    Attributes:
      pattern: regular expression that their whole names match.
      why: the reason.
    """

    pattern: str
    why: str


class NameMap(NamedTuple):
    """The tensors of a family of models.

    Attributes:
      entries: of the encoder.
      anchor: a tensor that every file has, by which the prefix of its names is found.
      pooler: entries of the dense layer over the first position, where there may be one.
      output: entries of the output table of a language model, where it is not the word table.
      decoder: entries of the decoder, as those of a `DecoderHead`.
      tied: names that may repeat the word table.
      left: what is not read.
    """

    entries: tuple[Entry, ...]
    anchor: str
    pooler: tuple[Entry, ...] = ()
    output: tuple[Entry, ...] = ()
    decoder: tuple[Entry, ...] = ()
    tied: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()


def dense(path: str, *names: str, bias: bool = True, inputs: int = 1) -> tuple[Entry, ...]:
    """The kernel and bias of a dense layer, from one or several linear layers side by side."""
    kernel = Entry(f"{path}/kernel", tuple(f"{n}.weight" for n in names), "matrix", inputs)
    if not bias:
        return (kernel,)
    return (kernel, Entry(f"{path}/bias", tuple(f"{n}.bias" for n in names), "vector"))


def norm(
    path: str, name: str, *, bias: bool = True, offset: float = 0.0, first_layer: int = 0
) -> tuple[Entry, ...]:
    """The scale and bias of a norm."""
    scale = Entry(
        f"{path}/scale", (f"{name}.weight",), "vector", offset=offset, first_layer=first_layer
    )
    if not bias:
        return (scale,)
    return (scale, Entry(f"{path}/bias", (f"{name}.bias",), "vector", first_layer=first_layer))


def table(path: str, name: str) -> Entry:
    """A table, as it is."""
    return Entry(path, (f"{name}.weight",), "table")
