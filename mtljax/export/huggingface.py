"""A run in the layout of Hugging Face, with the names that its pretrained model came with."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mtljax.data import Tokenizer
from mtljax.data.tokenizers.subword import SubwordTokenizer
from mtljax.errors import UserError
from mtljax.export.directory import new_directory
from mtljax.inference import Run
from mtljax.kinds import KINDS
from mtljax.modules import with_private
from mtljax.modules.shared_heads import encoder_params, shared_heads
from mtljax.modules.structures import PRIVATE, has_private, merged_parameters
from mtljax.presets import ENCODER_SHAPE
from mtljax.pretrained.decoder import OWN_TABLE, own_table
from mtljax.pretrained.families import FAMILIES
from mtljax.pretrained.fields import read_fields
from mtljax.pretrained.load import PretrainedFiles, open_source
from mtljax.pretrained.name_map import Entry
from mtljax.tasks import Task, chains_tags

_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
    "generation_config.json",
)
"""Files of a tokenizer, and how to generate, which are copied where they are there."""


class _Heads(NamedTuple):
    """How transformers calls the models of a family that have a head.

    Attributes:
      name: what its classes begin with.
      base: what stands before the names of the encoder in them.
      dense: the dense layer over the first position, with tanh; None where the head for texts is
        another one than ours.
      out: the layer to the classes, of that head.
    """

    name: str
    base: str
    dense: str | None = None
    out: str = "classifier"


_HEADS: Mapping[str, _Heads] = {
    "bert": _Heads("Bert", "bert", "bert.pooler.dense"),
    "roberta": _Heads("Roberta", "roberta", "classifier.dense", "classifier.out_proj"),
    "xlm-roberta": _Heads("XLMRoberta", "roberta", "classifier.dense", "classifier.out_proj"),
    "electra": _Heads("Electra", "electra"),
    "distilbert": _Heads("DistilBert", "distilbert"),
}
"""By model type."""


def to_huggingface(
    run: Run, directory: str | Path, task: str | None = None, like: str | Path | None = None
) -> None:
    """Write the encoder of a run, and the head of a task, so that transformers loads them.

    The directory has ``config.json``, ``model.safetensors`` (float32) and the files of the
    tokenizer. Without a task it is the base model (``AutoModel``), else the family's model for
    sequence or token classification, or of text to text for the one that writes it.

    Args:
      run: the run, from `mtljax.load_run`, whose encoder began as a pretrained one.
      directory: to be made; it may exist if it is empty.
      task: whose head is written too.
      like: directory of the pretrained model; by default where the run had it from.

    Raises:
      UserError: there is no such model any more, the encoder or the head is none that the family
        has, an unknown task, or a directory that holds something or cannot be written.
    """
    from safetensors.numpy import save_file

    source = _source(run, like)
    files = open_source(source)
    _check_encoder(run, files, source)
    model_type: str = read_fields(source).content["model_type"]
    config = json.loads((source / "config.json").read_bytes())
    heads = _HEADS.get(model_type)
    chosen = next((each for each in run.tasks if each.name == task), None)
    if task is not None and chosen is None:
        names = ", ".join(each.name for each in run.tasks)
        raise UserError(f"task {task!r}: unknown to {run.directory}; has {names}")
    tensors = _encoder(run, files, model_type, task)
    if chosen is None:
        tensors |= _as_they_were(files, (*files.matched.pooler, *files.matched.decoder))
        name = heads.name if heads else model_type.upper() if files.matched.decoder else ""
        config["architectures"] = [f"{name}Model"]
        if not name:
            del config["architectures"]
    elif files.matched.decoder and KINDS[chosen.kind].writes == "answer":
        tensors |= _decoder(run, chosen, files)
        config["architectures"] = [f"{model_type.upper()}ForConditionalGeneration"]
    elif heads is None:
        raise UserError(
            f"task {task!r}: no head of the family {model_type!r} for {chosen.kind} is known"
        )
    else:
        tensors = {f"{heads.base}.{name}": tensor for name, tensor in tensors.items()}
        head, fields = _head(run, chosen, heads)
        tensors |= head
        config |= fields
    with new_directory(directory) as draft:
        for name in _TOKENIZER:
            if (source / name).is_file():
                shutil.copyfile(source / name, draft / name)
        if chosen is not None and chosen.kind == "tagging":
            _space_before_words(run.tokenizer, draft)
        text = json.dumps({**config, "dtype": "float32"}, indent=2, ensure_ascii=False)
        (draft / "config.json").write_text(f"{text}\n", encoding="utf-8")
        # transformers wants to be told what library the tensors are for.
        save_file(tensors, draft / "model.safetensors", metadata={"format": "pt"})


def _source(run: Run, like: str | Path | None) -> Path:
    tokenizer = run.config.tokenizer
    known = run.config.encoder.pretrained
    known = known or (tokenizer.file if tokenizer.kind == "pretrained" else "")
    if not (like or known):
        raise UserError(
            f"export: the encoder of {run.directory} was no pretrained one; --like DIR names a "
            "model of its shape"
        )
    source = Path(like or known)
    if not (source / "config.json").is_file():
        raise UserError(f"export: {source}: the pretrained model is not there; --like DIR names it")
    return source


def _space_before_words(tokenizer: Tokenizer, directory: Path) -> None:
    """Has the tokenizer read the first word of a text as the others, as a tagger has read it.

    Byte pairs of a word differ with a space before it. Words of a list are each read with one.
    """
    path = directory / "tokenizer.json"
    if not isinstance(tokenizer, SubwordTokenizer) or not path.is_file():
        return
    content = json.loads(path.read_bytes())
    splitter = content.get("pre_tokenizer") or {}
    parts = [part for part in (splitter, *splitter.get("pretokenizers", ())) if "type" in part]
    bytes_ = [part for part in parts if part["type"] == "ByteLevel"]
    if not bytes_ or not tokenizer.outside()["before_word"]:
        return
    # Offsets know of the space from the post-processor.
    for part in (*bytes_, content.get("post_processor") or {}):
        if "add_prefix_space" in part:
            part["add_prefix_space"] = True
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_bytes()) if path.is_file() else {}
    text = json.dumps({**settings, "add_prefix_space": True}, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _check_encoder(run: Run, files: PretrainedFiles, source: Path) -> None:
    ours, theirs = run.config.encoder, files.shape.encoder
    for field in ENCODER_SHAPE:
        if getattr(ours, field) != getattr(theirs, field):
            raise UserError(
                f"export: encoder.{field} is {getattr(ours, field)!r}, that of {source} is "
                f"{getattr(theirs, field)!r}"
            )
    if run.layout.vocab_size != files.shape.vocabulary:
        raise UserError(
            f"export: the run has {run.layout.vocab_size} words, {source} {files.shape.vocabulary}"
        )


def _merged(run: Run, task: str | None) -> Any:
    """The parameters of the encoder as one without a structure of sharing has them."""
    sharing, shared = run.config.sharing, encoder_params(run.params["shared"])
    if has_private(sharing):
        if task is None:
            raise UserError(
                f"export: sharing.structure {sharing.structure!r} gives each task an encoder of "
                "its own; --task NAME writes that of one"
            )
        shared = with_private(shared, run.params[PRIVATE][task])
    try:
        return merged_parameters(sharing, shared)
    except ValueError as error:
        raise UserError(f"export: sharing.{error}") from None


def _encoder(
    run: Run, files: PretrainedFiles, model_type: str, task: str | None
) -> dict[str, np.ndarray]:
    name_map = FAMILIES[model_type].name_map(files.shape)
    params = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf, np.float32)
        for path, leaf in jax.tree.leaves_with_path(_merged(run, task))
    }
    tensors: dict[str, np.ndarray] = {}
    for entry in name_map.entries:
        leaf = params.pop(entry.path)
        if entry.stacked:
            for layer in range(entry.first_layer, len(leaf)):
                tensors |= _tensors(entry, leaf[layer], layer)
        else:
            tensors |= _tensors(entry, leaf)
    if params:
        raise UserError(f"export: {next(iter(params))} has no place in a {model_type!r} model")
    return tensors


def _tensors(entry: Entry, parameter: np.ndarray, layer: int = 0) -> dict[str, np.ndarray]:
    made = zip(entry.names, entry.to_tensors(parameter), strict=True)
    return {name.format(layer): np.ascontiguousarray(x, np.float32) for name, x in made}


def _as_they_were(files: PretrainedFiles, entries: Sequence[Entry]) -> dict[str, np.ndarray]:
    """The pooler or decoder as the model came with it: the base model has one, tasks their own."""
    names = [name for entry in entries for name in entry.names]
    read, known = files.checkpoint.read, files.matched.names
    return {name: np.ascontiguousarray(read(known[name]), np.float32) for name in names}


def _with_shared(run: Run, task: Task, name: str, own: Any) -> Any:
    """A head that the task has together with others, and the own one besides, as one head."""
    together = jax.tree.map(np.asarray, shared_heads(run.params["shared"])[name])
    if not task.own_head:
        return together
    if together.keys() != {"out"}:
        raise UserError(
            f"task {task.name!r}: its shared and its own head are one only where both are linear; "
            "leave --task out"
        )
    return jax.tree.map(np.add, together, own)


def _decoder(run: Run, task: Task, files: PretrainedFiles) -> dict[str, np.ndarray]:
    """The tensors of the decoder of a task of text to text."""
    ours, theirs = run.config.decoder, files.shape.decoder
    assert theirs is not None
    if dataclasses.replace(ours, dropout=theirs.dropout) != theirs:
        raise UserError(f"task {task.name!r}: its decoder has another shape than that of the model")
    head = run.params["heads"][task.name]
    params = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf, np.float32)
        for path, leaf in jax.tree.leaves_with_path(head)
    }
    tensors: dict[str, np.ndarray] = {}
    for entry in files.matched.decoder:
        tensors |= _tensors(entry, params[entry.path.removeprefix("decoder/")])
    if OWN_TABLE in params:
        # The rows of words that are no classes of the task stay as they were.
        table = own_table(files.checkpoint, files.matched).astype(np.float32)
        table[run.layout.outputs[task.name].ids] = params[OWN_TABLE]
        tensors["lm_head.weight"] = table
    return tensors


def _head(run: Run, task: Task, heads: _Heads) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of a head, and the fields of the configuration that go with them."""
    output, what = run.layout.outputs[task.name], f"task {task.name!r}"
    params: Any = jax.tree.map(np.asarray, run.params["heads"][task.name])
    if task.head is not None:
        params = _with_shared(run, task, task.head, params)
    if chains_tags(task):
        raise UserError(f"{what}: tags are chosen word by word there; leave --task out")
    layers = {"out"} if task.kind == "tagging" else {"pooler", "out"}
    if task.kind not in ("classification", "multilabel", "regression", "tagging"):
        raise UserError(f"{what}: kind {task.kind!r} has no head there; leave --task out")
    if params.keys() != layers or (task.kind != "tagging" and heads.dense is None):
        wanted = (
            "no --heads.tag-hidden"
            if task.kind == "tagging"
            else "--heads.pooling pooler and no --heads.hidden"
            if heads.dense
            else "another one than ours"
        )
        raise UserError(f"{what}: the head of a {heads.name} model is {wanted}; leave --task out")
    kernel, bias = params["out"]["kernel"].T, params["out"]["bias"]
    classes: Sequence[str] = output.classes or ("value",)
    problem = "single_label_classification"
    if task.kind == "regression":
        # In the units of the data.
        kernel, bias = kernel * output.deviation, bias * output.deviation + output.mean
        problem = "regression"
    elif task.kind == "multilabel":
        problem = "multi_label_classification"
    elif len(kernel) == 1 and len(classes) == 2:
        # One logit z is two of a softmax, 0 and z.
        kernel, bias = np.stack([0 * kernel[0], kernel[0]]), np.stack([0 * bias[0], bias[0]])
    tensors = {"weight": kernel, "bias": bias}
    if task.kind == "tagging":
        tensors, model = {f"classifier.{name}": x for name, x in tensors.items()}, "Token"
    else:
        tensors, model = {f"{heads.out}.{name}": x for name, x in tensors.items()}, "Sequence"
        dense = params["pooler"]
        tensors |= {
            f"{heads.dense}.weight": dense["kernel"].T,
            f"{heads.dense}.bias": dense["bias"],
        }
    fields = {
        "architectures": [f"{heads.name}For{model}Classification"],
        "id2label": {str(i): name for i, name in enumerate(classes)},
        "label2id": {name: i for i, name in enumerate(classes)},
        "problem_type": problem,
    }
    if model == "Token":
        del fields["problem_type"]
    return {name: np.ascontiguousarray(x, np.float32) for name, x in tensors.items()}, fields
