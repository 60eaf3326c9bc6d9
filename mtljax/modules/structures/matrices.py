"""The matrices of an encoder that can have a low-rank update."""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from jax.tree_util import tree_leaves_with_path

from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.transformer import LAYERS

_TWO_INPUTS = ("out", "source_out")
"""Dense layers that read heads and their features."""

_ADAPTED = ("qkv", "query", "key_value", "out", "up", "gate_up", "down", "dense")

_LSTM_INPUTS = re.compile(r"layer_\d+(_reverse)?_inputs")


class Matrix(NamedTuple):
    """A dense layer of an encoder, or one of each of several stacked layers.

    Attributes:
      path: of its module, such as ``("transformer", "layers", "up")``.
      layers: ``(L,)`` where they are stacked, else ``()``.
      inputs: features that it reads.
      outputs: features that it makes.
    """

    path: tuple[str, ...]
    layers: tuple[int, ...]
    inputs: int
    outputs: int


def matrices(params: Any) -> Iterator[Matrix]:
    """The dense layers of an encoder that can have a low-rank update.

    Args:
      params: of the encoder, a tree of arrays or of their shapes.
    """
    for path, leaf in tree_leaves_with_path(params):
        names = tuple(str(entry.key) for entry in path)
        if names[-1] != "kernel" or len(names) < 2:
            continue
        module = names[-2]
        if not (module in _ADAPTED or _LSTM_INPUTS.fullmatch(module)):
            continue
        stacked = int(LAYERS in names)
        split = stacked + (2 if module in _TWO_INPUTS else 1)
        inputs, outputs = math.prod(leaf.shape[stacked:split]), math.prod(leaf.shape[split:])
        yield Matrix(names[:-1], tuple(leaf.shape[:stacked]), inputs, outputs)


def chosen_matrices(sharing: SharingConfig, params: Any) -> list[Matrix]:
    """Those that `sharing.matrices` picks.

    Args:
      sharing: with the expression.
      params: as of `matrices`.

    Raises:
      ValueError: the expression is not valid, or picks none.
    """
    found = list(matrices(params))
    names = ["/".join(matrix.path) for matrix in found]
    try:
        search = re.compile(sharing.matrices).search
    except re.error as error:
        raise ValueError(
            f"matrices {sharing.matrices!r}: no regular expression ({error})"
        ) from None
    chosen = [matrix for matrix, name in zip(found, names, strict=True) if search(name)]
    if not chosen:
        raise ValueError(
            f"matrices {sharing.matrices!r}: found in the path of no matrix ({', '.join(names)})"
        )
    return chosen


def check_matrices(sharing: SharingConfig, encoder: EncoderConfig, shapes: Any) -> None:
    """Raises ValueError if there is nothing to update; see `Structure.check`."""
    if not any(True for _ in matrices(shapes)):
        raise ValueError(
            f"structure {sharing.structure!r}: a {encoder.kind} encoder has no dense layers"
        )
    chosen_matrices(sharing, shapes)


def least_layers(sharing: SharingConfig, encoder: EncoderConfig) -> int:
    """Layers of which one matrix at least is updated: an expression may pick a single one."""
    return 1 if sharing.matrices or encoder.kind == "linear" else encoder.layers


def least_width(encoder: EncoderConfig) -> int:
    """The fewest features that a matrix of an encoder reads or makes."""
    return min(encoder.embedding, encoder.features)
