"""A pretrained model in the layout of Hugging Face, loaded for use."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from mtljax.data.encoding.examples import encode_inputs
from mtljax.data.tokenizers import Text, Tokenizer, TokenizerSettings, train_tokenizer
from mtljax.modules.config import EncoderConfig
from mtljax.modules.encoder import Encoder
from mtljax.modules.parameter_shapes import encoder_parameters
from mtljax.parallel import parameter_specs
from mtljax.pretrained.checkpoint import Checkpoint, open_checkpoint
from mtljax.pretrained.decoder import PretrainedDecoder, decoder_shapes, load_decoder
from mtljax.pretrained.families import Shape, family_of
from mtljax.pretrained.fields import read_fields
from mtljax.pretrained.matching import Matched, match
from mtljax.pretrained.place import place
from mtljax.pretrained.report import LoadReport
from mtljax.special_tokens import Marks

PathLike = str | os.PathLike[str]


class Tokens(NamedTuple):
    """Texts as ids, padded on the right: the arguments of `Pretrained.hidden_states`.

    Attributes:
      tokens: int32 ``[B, S]``.
      mask: bool ``[B, S]``, where there is a token.
      types: int32 ``[B, S]``, 1 in the second text of a pair, of models that have token types.
    """

    tokens: np.ndarray
    mask: np.ndarray
    types: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Pretrained:
    """A pretrained model.

    Attributes:
      module: the encoder, the same that runs train.
      params: its parameters.
      tokenizer: of the directory; None where it has none.
      config: the shape of the encoder.
      report: what became of every tensor.
      causal: whether positions see none after them.
      max_positions: positions of a text at most; 0 for no limit.
      pooler: `kernel` and `bias` of the dense layer over the first position; None where there is
        none.
      output: ``[V, E]``, the output table of a language model where it is not the word table.
      decoder: what answers; None where the model has none.
    """

    module: Encoder
    params: Any
    tokenizer: Tokenizer | None
    config: EncoderConfig
    report: LoadReport
    causal: bool = False
    max_positions: int = 0
    pooler: Mapping[str, jax.Array] | None = None
    output: jax.Array | None = None
    decoder: PretrainedDecoder | None = None

    def hidden_states(
        self, tokens: Any, mask: Any = None, types: Any = None, positions: Any = None
    ) -> jax.Array:
        """What the last layer, and the norm after it, make of some texts.

        Args:
          tokens: int ``[B, S]``, ids of the tokenizer of the model.
          mask: bool or int ``[B, S]``, 1 where a text has a token, in one piece; None for all. With
            numbers above 1 several texts are packed in a row, each a number of its own.
          types: int ``[B, S]``, token types; None for type 0.
          positions: int ``[B, S]``; None to count them from 0 in each text.

        Returns:
          ``[B, S, D]``, what transformers calls ``last_hidden_state``; where there is no token, it
          has no meaning.

        Raises:
          ValueError: if a text is longer than the positions of the model, or an id beyond the
            vocabulary.
        """
        tokens = np.asarray(tokens, np.int32)
        segments = np.ones_like(tokens) if mask is None else np.asarray(mask, np.int32)
        counted = text_positions(segments)
        limit = self.max_positions
        if limit and counted.max(initial=0) >= limit:
            raise ValueError(
                f"tokens: a text of {counted.max() + 1} is longer than the {limit} positions"
            )
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.module.vocabulary_size:
            raise ValueError(f"tokens: ids must be from 0 to {self.module.vocabulary_size - 1}")
        batch = {
            "tokens": tokens,
            "segments": segments,
            "positions": counted if positions is None else np.asarray(positions, np.int32),
            "types": np.zeros_like(tokens) if types is None else np.asarray(types, np.int32),
        }
        compiled = _hidden(self.module, self.causal)  # pyright: ignore[reportArgumentType]
        return compiled(self.params, batch)

    def tokens(
        self, texts: Sequence[Text | tuple[Text, ...]], max_length: int | None = None
    ) -> Tokens:
        """Texts as ids, with what the model's own post-processor puts around them.

        Args:
          texts: texts or lists of words; or pairs of them, all of which are pairs.
          max_length: ids of a text at most; longer ones lose their last ones, of a pair the longer
            text does. None for the positions of the model.

        Returns:
          `Tokens`.

        Raises:
          ValueError: if there is no tokenizer.
        """
        if self.tokenizer is None:
            raise ValueError("tokens: the directory has no tokenizer")
        limit = max_length or self.max_positions or 2**20
        parts = len(texts[0]) if texts and isinstance(texts[0], tuple) else 1
        examples = encode_inputs(texts, self.tokenizer, limit, parts)
        mask = np.arange(examples.lengths.max(initial=1)) < examples.lengths[:, None]
        tokens = np.full(mask.shape, self.tokenizer.marks.pad, np.int32)
        tokens[mask] = examples.tokens
        ends = tokens == self.tokenizer.marks.end
        second = (np.cumsum(ends, axis=1) - ends > 0) & mask
        typed = self.config.architecture.token_types > 1
        return Tokens(tokens, mask, (second if typed else np.zeros_like(mask)).astype(np.int32))

    def logits(self, hidden: jax.Array) -> jax.Array:
        """``[B, S, V]``, what a language model says of the next token, from its hidden states."""
        table = self.params["embedding"]["words"] if self.output is None else self.output
        return jnp.einsum("bsd,vd->bsv", hidden, table)


def text_positions(segments: np.ndarray) -> np.ndarray:
    """Positions counted anew in each text: int32 ``[B, S]``, from segments ``[B, S]``.

    >>> text_positions(np.array([[1, 1, 2, 2, 2, 0], [0, 0, 1, 1, 1, 1]])).tolist()
    [[0, 1, 0, 1, 2, 0], [0, 1, 0, 1, 2, 3]]
    """
    columns = np.arange(segments.shape[1])
    begins = np.diff(segments, axis=1, prepend=-1) != 0
    return (columns - np.maximum.accumulate(np.where(begins, columns, 0), axis=1)).astype(np.int32)


@functools.lru_cache  # models of one shape share a program
def _hidden(module: Encoder, causal: bool) -> Any:
    def run(params: Any, batch: Mapping[str, Any]) -> jax.Array:
        attention = "causal" if causal else "bidirectional"
        features: Any = module.apply({"params": params}, batch, attention=attention, train=False)
        return features.hidden

    return jax.jit(run)


def load(
    directory: PathLike,
    *,
    mesh: Mesh | None = None,
    fsdp: Sequence[str] = (),
    dtype: DTypeLike | None = None,
) -> Pretrained:
    """Load a pretrained model from a directory in the layout of Hugging Face.

    The directory has a `config.json`, `model.safetensors` (or several such files and their index)
    and a `tokenizer.json` (or `vocab.txt`). Tensors are read one by one into their place.

    Args:
      directory: of the model.
      mesh: a mesh over which the parameters are sharded as those of a run are (see
        `mtljax.parallel.make_mesh`); None for the default device.
      fsdp: axes of the mesh over which parameters are sharded besides.
      dtype: of the parameters and of the computation; None for float32.

    Returns:
      A `Pretrained`; its `report` says what became of every tensor.

    Raises:
      UserError: naming the file, field or tensor that is missing, damaged or not supported.
    """
    path, dtype = Path(directory), jnp.dtype(dtype or jnp.float32)
    source = open_source(path)
    tokenizer = read_tokenizer(path)
    marks = Marks() if tokenizer is None else tokenizer.marks
    module = make_encoder(source.shape, dtype, marks)
    shapes, axes = encoder_parameters(module)
    places: dict[str, Any] = {}
    if mesh is not None:
        specs, _ = parameter_specs(shapes, axes, mesh, fsdp=fsdp)
        places = {path: NamedSharding(mesh, spec) for path, spec in _by_path(specs).items()}
    like = {
        path: jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=places.get(path))
        for path, leaf in _by_path(shapes).items()
    }
    arrays, pooler = read_parameters(source, like)
    params = jax.tree_util.tree_map_with_path(lambda path, _: arrays[_name(path)], shapes)
    output = None
    if source.matched.output and source.shape.decoder is None:
        words = like["embedding/words"]
        table = _struct((words.shape[0], source.shape.encoder.features), words)
        output = place(
            source.checkpoint, source.matched.output, source.matched.names, {"output": table}
        )["output"]
    decoder = None
    if source.shape.decoder is not None:
        whole = _struct((), like["embedding/words"], whole=True).sharding
        decoder = load_decoder(source.checkpoint, source.matched, source.shape, module, whole)
    report = source.matched.report
    if tokenizer is None:
        report = report._replace(notes=(*report.notes, "no tokenizer in the directory"))
    shape = source.shape
    return Pretrained(
        module,
        params,
        tokenizer,
        shape.encoder,
        report,
        shape.causal,
        shape.max_positions,
        pooler or None,
        output,
        decoder,
    )


class PretrainedFiles(NamedTuple):
    """What a directory holds, of which only headers have been read.

    Attributes:
      shape: of the model.
      checkpoint: its open files.
      matched: which tensor is which.
    """

    shape: Shape
    checkpoint: Checkpoint
    matched: Matched


def read_shape(directory: PathLike) -> Shape:
    """The shape of a pretrained model, from its `config.json` alone.

    Raises:
      UserError: if the file is missing or damaged, or names what is not supported.
    """
    fields = read_fields(Path(directory))
    shape = family_of(fields).shape(fields)
    fields.finish()
    return shape


def open_source(directory: Path) -> PretrainedFiles:
    """Open the files of a pretrained model, and find its tensors.

    Raises:
      UserError: as `load`.
    """
    fields = read_fields(directory)
    family = family_of(fields)
    shape = read_shape(directory)
    checkpoint = open_checkpoint(directory)
    shapes, _ = encoder_parameters(make_encoder(shape, jnp.dtype(jnp.float32), Marks()))
    by_path = {path: leaf.shape for path, leaf in _by_path(shapes).items()}
    width = shape.encoder.features
    by_path |= {"pooler/kernel": (width, width), "pooler/bias": (width,)}
    by_path["output"] = (shape.vocabulary, width)
    if shape.decoder is not None:
        found = decoder_shapes(shape, make_encoder(shape, jnp.dtype(jnp.float32), Marks()))
        by_path |= {path: leaf.shape for path, leaf in found.items()}
    matched = match(
        checkpoint,
        family.name_map(shape),
        shape.encoder.layers,
        fields.get("model_type", str),
        by_path,
    )
    return PretrainedFiles(shape, checkpoint, matched)


def make_encoder(shape: Shape, dtype: Any, marks: Marks) -> Encoder:
    """The module of a pretrained model."""
    return Encoder(shape.encoder, shape.vocabulary, dtype=dtype, marks=marks)


def read_parameters(
    source: PretrainedFiles, like: Mapping[str, Any]
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Read the parameters of an encoder, tensor by tensor.

    Args:
      source: the open files.
      like: by path, arrays or their shapes, dtypes and shardings; more than those of the model are
        not read.

    Returns:
      The encoder's parameters by path; and, where the files have them, those of the pooler,
      `kernel` and `bias`, whole on every device.
    """
    checkpoint, matched, width = source.checkpoint, source.matched, source.shape.encoder.features
    shapes = {path: _struct(leaf.shape, leaf) for path, leaf in like.items()}
    params = place(checkpoint, matched.entries, matched.names, shapes)
    some = next(iter(like.values()))
    shapes = {
        "pooler/kernel": _struct((width, width), some, whole=True),
        "pooler/bias": _struct((width,), some, whole=True),
    }
    pooler = place(checkpoint, matched.pooler, matched.names, shapes)
    return params, {path.removeprefix("pooler/"): leaf for path, leaf in pooler.items()}


def _struct(shape: Sequence[int], like: Any, whole: bool = False) -> jax.ShapeDtypeStruct:
    sharding = getattr(like, "sharding", None)
    if whole and isinstance(sharding, NamedSharding):
        sharding = NamedSharding(sharding.mesh, PartitionSpec())
    return jax.ShapeDtypeStruct(shape, like.dtype, sharding=sharding)


def read_tokenizer(directory: Path) -> Tokenizer | None:
    """The tokenizer of a directory; None where it has none."""
    if not any((directory / name).exists() for name in ("tokenizer.json", "vocab.txt")):
        return None
    return train_tokenizer((), TokenizerSettings(kind="pretrained", file=os.fspath(directory)))


def _by_path(tree: Any) -> dict[str, Any]:
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
