"""The decoder of a pretrained model: what answers the text that the encoder has read."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Sharding

from mtljax.modules.decoder import DecoderHead
from mtljax.modules.encoder import Encoder
from mtljax.modules.parameter_shapes import decoder_parameters
from mtljax.pretrained.checkpoint import Checkpoint
from mtljax.pretrained.families import Shape
from mtljax.pretrained.matching import Matched
from mtljax.pretrained.place import place, put

OWN_TABLE = "readout/table"
"""The parameter of a decoder that reads words out by a table of its own."""


class PretrainedDecoder(NamedTuple):
    """What answers, of a model that reads a text and then writes another.

    Attributes:
      module: the decoder, the same that runs of text to text train, over all words.
      params: its parameters.
      start: the id that an answer begins with.
    """

    module: DecoderHead
    params: Any
    start: int


def decoder_shapes(shape: Shape, encoder: Encoder) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of the parameters of a decoder by path, after ``decoder/``."""
    leaves = jax.tree_util.tree_leaves_with_path(
        decoder_parameters(_module(shape, encoder.dtype), encoder)
    )
    return {f"decoder/{_name(path)}": leaf for path, leaf in leaves}


def load_decoder(
    checkpoint: Checkpoint,
    matched: Matched,
    shape: Shape,
    encoder: Encoder,
    sharding: Sharding | None,
) -> PretrainedDecoder:
    """The decoder of a pretrained model.

    Args:
      checkpoint: the open files.
      matched: which tensor is which.
      shape: of the model, which has a decoder.
      encoder: its module; the decoder has its dtype.
      sharding: of all parameters; None for the default device.
    """
    module = _module(shape, encoder.dtype)
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, encoder.dtype, sharding=sharding),
        decoder_parameters(module, encoder),
    )
    like = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)}
    ids = np.arange(shape.vocabulary)
    read = read_decoder(checkpoint, matched, like, ids)
    params = jax.tree_util.tree_map_with_path(lambda path, _: read[_name(path)], shapes)
    return PretrainedDecoder(module, params, shape.answer_start)


def read_decoder(
    checkpoint: Checkpoint, matched: Matched, like: Mapping[str, Any], ids: np.ndarray
) -> dict[str, jax.Array]:
    """Read the parameters of a decoder, tensor by tensor.

    Args:
      checkpoint: the open files.
      matched: which tensor is which, of a model that has one.
      like: by path, arrays or their shapes, dtypes and shardings; those that no model has are not
        read.
      ids: ``[outputs]``, the word ids of the classes of a decoder with a table of its own.

    Returns:
      The parameters by path.
    """
    wanted = {f"decoder/{path}": leaf for path, leaf in like.items()}
    read = place(checkpoint, matched.decoder, matched.names, wanted)
    params = {path.removeprefix("decoder/"): leaf for path, leaf in read.items()}
    if OWN_TABLE in like:
        table, wanted = own_table(checkpoint, matched)[ids], like[OWN_TABLE]
        params[OWN_TABLE] = put(table.astype(wanted.dtype, copy=False), wanted.sharding)
    return params


def own_table(checkpoint: Checkpoint, matched: Matched) -> np.ndarray:
    """The table that words are read out by: the word table, where the files have no other."""
    words = [entry for entry in matched.entries if entry.path == "embedding/words"]
    return checkpoint.read(matched.names[(*matched.output, *words)[0].names[0]])


def _module(shape: Shape, dtype: Any) -> DecoderHead:
    assert shape.decoder is not None
    width = shape.encoder.features
    return DecoderHead(shape.vocabulary, width, **vars(shape.decoder), dtype=dtype)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
