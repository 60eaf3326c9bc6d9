"""A run as StableHLO: functions for any device, parameters, tokenizer, signature, `answer.py`."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtljax.data import Tokenizer
from mtljax.data.tokenizers import SubwordTokenizer, WordTokenizer
from mtljax.data.tokenizers.word_splitting import usual_spaces_patterns, words_pattern
from mtljax.errors import UserError
from mtljax.export.answer_file import answer_file
from mtljax.export.directory import new_directory
from mtljax.export.functions import LEAST_LENGTH, Exported, exported_functions
from mtljax.inference import Run
from mtljax.inference.predictions import reading_length
from mtljax.inference.prompts import affix_table
from mtljax.inference.run import PREVIEW_TOKENS
from mtljax.kinds import KINDS
from mtljax.training.model import Model, build_model
from mtljax.versions import versions

PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(run: Run, directory: str | Path, tasks: Sequence[str] | None = None) -> None:
    """Write a run as programs that need nothing of this library.

    The directory has ``answers-N.stablehlo`` for each group of tasks that read the same inputs and
    ``writes-N.stablehlo`` for each task that writes text, from `jax.export`, for CPUs, CUDA and
    TPUs and batches of any size and length; ``parameters.safetensors``, float32;
    ``tokenizer.json`` where the tokenizer is one of the `tokenizers` library;
    ``signature.json``, which says what functions read and return; and ``answer.py``.

    Args:
      run: the run, from `mtljax.load_run`.
      directory: to be made; it may exist if it is empty.
      tasks: names of the tasks; None for all.

    Raises:
      UserError: an unknown task, one of a kind that cannot be exported, a directory that holds
        something or cannot be written, or a package that is missing.
    """
    try:
        import flatbuffers  # noqa: F401  # pyright: ignore[reportMissingImports]
        from safetensors.numpy import save_file
    except ImportError as error:
        raise UserError(f"export: needs the extra 'export' ({error.name} is missing)") from None
    with new_directory(directory) as draft:
        _write(run, draft, tasks, save_file)


def _write(run: Run, draft: Path, tasks: Sequence[str] | None, save_file: Any) -> None:
    names = [task.name for task in run.tasks]
    for name in tasks or ():
        if name not in names:
            raise UserError(f"task {name!r}: unknown to {run.directory}; has {', '.join(names)}")
    model = _portable(run)
    affixes = affix_table(run.tokenizer)
    functions = exported_functions(model, affixes, tasks or names, PREVIEW_TOKENS)
    parameters = _by_path(run.params)
    programs = {f"{f.name}.stablehlo": _program(f, parameters, run, model) for f in functions}
    kinds = [KINDS[task.kind] for f in functions for task in f.tasks]
    kind = run.tokenizer.settings.kind
    files: dict[str, str | bytes] = {
        **programs,
        "signature.json": json.dumps(_signature(run, functions), ensure_ascii=False, indent=1),
        "answer.py": answer_file(
            kind,
            tags=any(kind.reads_whole_texts for kind in kinds),
            answers=not all(kind.writes for kind in kinds),
            writes=any(kind.writes for kind in kinds),
        ),
    }
    if "model" in (content := run.tokenizer.to_json()):
        files["tokenizer.json"] = json.dumps(content["model"], ensure_ascii=False)

    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        (draft / name).write_bytes(data)
    save_file(parameters, draft / "parameters.safetensors")


def _portable(run: Run) -> Model:
    """The model without what is for one kind of device; in float32 where that was open."""
    encoder = dataclasses.replace(run.config.encoder, attention="xla")
    dtype = "float32" if run.config.dtype == "auto" else run.config.dtype
    config = dataclasses.replace(run.config, encoder=encoder, dtype=dtype)
    return build_model(config, run.layout)


def _by_path(params: Any) -> dict[str, np.ndarray]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.ascontiguousarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(params)
    }


def _program(one: Exported, parameters: dict[str, np.ndarray], run: Run, model: Model) -> bytes:
    from jax import export

    structure, names = jax.tree.structure(run.params), list(parameters)

    def function(by_path: dict[str, jax.Array], inputs: dict[str, jax.Array]) -> Any:
        params = jax.tree.unflatten(structure, [by_path[name] for name in names])
        return one.function(params, inputs)

    rows, columns = export.symbolic_shape("b, s", constraints=[f"s >= {LEAST_LENGTH}"])

    def ids(*shape: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, np.int32)

    inputs = {"tokens": ids(rows, columns), "segments": ids(rows, columns)}
    if count := run.tokenizer.settings.affixes:
        inputs["affixes"] = ids(rows, columns, count)
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in parameters.items()}
    exported = export.export(jax.jit(function), platforms=PLATFORMS)(shapes, inputs)
    return bytes(exported.serialize())


def _signature(run: Run, functions: Sequence[Exported]) -> dict[str, Any]:
    affixes = run.tokenizer.settings.affixes
    inputs = {"tokens": "int32[b, s]", "segments": "int32[b, s]"}
    if affixes:
        inputs["affixes"] = f"int32[b, s, {affixes}]"
    return {
        "run": str(run.directory),
        "step": run.step,
        "versions": versions(),
        "platforms": list(PLATFORMS),
        "parameters": "parameters.safetensors",
        "tokenizer": _tokenizer(run.tokenizer),
        "functions": [
            {
                "file": f"{one.name}.stablehlo",
                "arguments": ["parameters", inputs],
                "least_columns": LEAST_LENGTH,
                **_reading(run, one),
                "tasks": {task.name: _task(run, one, task.name) for task in one.tasks},
            }
            for one in functions
        ],
    }


def _reading(run: Run, one: Exported) -> dict[str, Any]:
    task = one.tasks[0]
    writes = KINDS[task.kind].writes
    width = reading_length(run.model, run.layout.group_of(task.name).name)
    return {
        # Of each input the names under which it may be given, as `Run.predict` takes it.
        "reads": [
            [name, "text", "tokens"] if len(task.parts) == 1 else [name] for name in task.parts
        ],
        "by_word": any(KINDS[task.kind].reads_whole_texts for task in one.tasks),
        # A text to be continued is cut at its begin, by `answer.py`.
        "max_length": None if writes == "continuation" else width,
        "width": width,
        "writes": writes,
        "room": one.room,
    }


def _task(run: Run, one: Exported, name: str) -> dict[str, Any]:
    task = next(task for task in one.tasks if task.name == name)
    output = run.layout.outputs[name]
    returns = {
        "classification": f"float32[b, {output.num_classes}], probabilities",
        "multilabel": f"float32[b, {output.num_classes}], probabilities",
        "regression": "float32[b], in the units of the data",
        "tagging": "int32[b, s], a class at the first piece of each word",
    }.get(task.kind, f"int32[b, {one.room}], ids that follow, -1 after the last")
    return {"kind": task.kind, "classes": list(output.classes), "returns": returns}


def _tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    settings, marks = tokenizer.settings, tokenizer.marks
    common = {
        "kind": settings.kind,
        "fingerprint": tokenizer.fingerprint,
        "lowercase": settings.lowercase,
        "affixes": settings.affixes,
        "gap": settings.word_gap,
        **{name: list(getattr(marks, name)) for name in ("prefix", "between", "suffix", "answer")},
        "words": words_pattern(),
        "spaces": usual_spaces_patterns(),
    }
    if isinstance(tokenizer, WordTokenizer):
        names = ("prefixes", "suffixes", "shape", "affix_buckets", "characters")
        affixes = {name: getattr(settings, name) for name in names}
        pattern = words_pattern(tokenizer.word_rule)
        return {**common, **affixes, "pattern": pattern, "pieces": list(tokenizer.pieces)}
    if settings.kind in ("byte", "character"):
        return {**common, "pieces": list(tokenizer.pieces)}
    assert isinstance(tokenizer, SubwordTokenizer)
    return {**common, **tokenizer.outside()}
