"""What is in a directory: a run, or a pretrained model."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.errors import UserError
from mtljax.modules.architecture import DEFAULT
from mtljax.modules.config import EncoderConfig
from mtljax.modules.parameter_shapes import encoder_parameters
from mtljax.modules.shared_heads import encoder_params, shared_heads
from mtljax.modules.structures import PRIVATE
from mtljax.pretrained.decoder import decoder_shapes
from mtljax.pretrained.load import make_encoder, open_source, read_shape, read_tokenizer
from mtljax.special_tokens import OWN_MARKS
from mtljax.training.model import compute_dtype
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.checkpoints import checkpoint_steps
from mtljax.training.restore import restored_model


class Inspection(NamedTuple):
    """What a directory holds.

    Attributes:
      kind: 'run' or 'pretrained model'.
      architecture: the encoder, by the names of its settings; those of a default are left out.
      parameters: how many there are, by part.
      vocabulary: what is known of the tokenizer, in words.
      precision: the dtypes of what is stored, and how many tensors have each.
      more: other facts, by name.
      problem: why it cannot be loaded; empty if it can.
    """

    kind: str
    architecture: dict[str, Any]
    parameters: dict[str, int]
    vocabulary: str
    precision: dict[str, int]
    more: dict[str, Any]
    problem: str = ""


def inspect(path: str | Path) -> Inspection:
    """Look into the directory of a run or of a pretrained model; no parameter is read.

    Raises:
      UserError: if it is neither.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    if run_directory.holds_run(directory):
        return _inspect_run(directory)
    if (directory / "config.json").exists():
        return _inspect_pretrained(directory)
    raise UserError(f"{directory}: neither a run (config.yaml) nor a pretrained model")


def _inspect_run(directory: Path) -> Inspection:
    files = run_directory.read_run(directory)
    _, params = restored_model(directory, files.config, files.layout)
    parts = encoder_params(params["shared"])
    parts |= {f"private of {name}": own for name, own in params.get(PRIVATE, {}).items()}
    parts |= {f"head {name}": head for name, head in shared_heads(params["shared"]).items()}
    parts |= {f"head of {name}": head for name, head in params["heads"].items() if head}
    steps = checkpoint_steps(directory / run_directory.CHECKPOINTS)
    return Inspection(
        "run",
        _architecture(files.config.encoder),
        {name: _count(part) for name, part in parts.items()},
        f"{files.layout.vocab_size:,} ids, {files.tokenizer.settings.kind}",
        dict(Counter(str(leaf.dtype) for leaf in jax.tree.leaves(params))),
        {
            "tasks": {task.name: task.kind for task in files.tasks},
            "computes in": str(compute_dtype(files.config)),
            "checkpoints": steps,
            **({"began from": files.config.encoder.pretrained} if _pretrained(files) else {}),
        },
        "" if steps else "there is no checkpoint yet",
    )


def _pretrained(files: Any) -> str:
    return files.config.encoder.pretrained


def _inspect_pretrained(directory: Path) -> Inspection:
    problem, report, precision = "", None, {}
    try:
        shape = read_shape(directory)
    except UserError as error:
        return Inspection("pretrained model", {}, {}, "", {}, {}, str(error))
    try:
        source = open_source(directory)
        report = source.matched.report
        kinds = (source.checkpoint.kind(name) for name in source.checkpoint.files)
        precision = dict(Counter(kinds))
    except UserError as error:
        problem = str(error)
    try:
        tokenizer = read_tokenizer(directory)
        vocabulary = "no tokenizer" if tokenizer is None else f"{_pieces(tokenizer):,} pieces"
    except UserError as error:
        vocabulary, problem = "", problem or str(error)
    encoder = make_encoder(shape, jnp.dtype(jnp.float32), OWN_MARKS)
    params, _ = encoder_parameters(encoder)
    if shape.decoder is not None:
        params = {**params, "decoder": decoder_shapes(shape, encoder)}
    return Inspection(
        "pretrained model",
        _architecture(shape.encoder),
        {name: _count(part) for name, part in params.items()},
        f"{shape.vocabulary:,} ids, {vocabulary}",
        precision,
        {
            "positions": shape.max_positions or "any number",
            "reads": "left to right" if shape.causal else "both ways",
            **({} if report is None else {"tensors": report.summary()}),
        },
        problem,
    )


def _pieces(tokenizer: Any) -> int:
    return sum(piece != "" for piece in tokenizer.pieces)


def _count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _architecture(encoder: EncoderConfig) -> dict[str, Any]:
    names = ["kind", "embedding", "features", "layers"]
    names += ["heads", "feed_forward"] if encoder.kind == "transformer" else []
    return {
        **{name: getattr(encoder, name) for name in names},
        **_changed(dataclasses.asdict(encoder.architecture), dataclasses.asdict(DEFAULT)),
    }


def _changed(values: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != default[name]}
