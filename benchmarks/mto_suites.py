"""Sets of tasks on which multi-objective methods are compared, and the small model of each."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.data import MultitaskData, load_data
from mtljax.presets import Config, read_config
from mtljax.tasks import Task, parse_tasks
from mtljax.training import build_model
from mtljax.training.model import Model, data_options
from mtljax.training.reporting.data_overview import class_counts

_TEXT = {"kind": "classification", "inputs": "text", "targets": "label"}
_WORDS = {"kind": "tagging", "inputs": "tokens", "targets": "tags"}
_SPLITS = {split: f"{split}.jsonl" for split in ("train", "validation", "test")}
_LSTM: dict[str, Any] = {
    "preset": "small",
    "tokenizer": {"affix_buckets": 1024},
    "encoder": {
        **{"embedding": 64, "features": 64, "dropout": 0.2, "embedding_dropout": 0.1},
        **{"word_dropout": 0.1, "token_dropout": 0.05},
    },
    "heads": {"tag_hidden": 0, "negatives": 256, "dropout": 0.2, "tag_dropout": 0.1},
    "optimizer": {"average": 0.98},
}


class Suite(NamedTuple):
    """Tasks that are trained together.

    Attributes:
      tasks: entries of a tasks file, by name.
      settings: of a run, see `mtljax.presets.read_config`.
      rates: the learning rates of the search.
    """

    tasks: Mapping[str, Any]
    settings: Mapping[str, Any]
    rates: tuple[float, ...]


class Loaded(NamedTuple):
    """A suite, or one task of it, with its data."""

    config: Config
    data: MultitaskData
    model: Model
    rates: tuple[float, ...]


SUITES = {
    "mixed": Suite(
        {
            "intents": {**_TEXT, "dataset": "snips", "inputs": "tokens"},
            "slots": {**_WORDS, "dataset": "snips"},
            "pos": {**_WORDS, "dataset": "ud_ewt"},
            "entities": {**_WORDS, "dataset": "wnut17"},
            "banking": {**_TEXT, "dataset": "banking77"},
        },
        {
            **_LSTM,
            "batch": {"tokens": 2048, "row_length": 48},
            "steps": 1500,
            "evaluate_every": 250,
        },
        (0.005, 0.01, 0.02),
    ),
    "fdu": Suite(
        {},  # a task for each folder of its directory
        {
            "preset": "linear",
            "encoder": {"embedding": 16, "features": 16},
            "batch": {"tokens": 4096, "row_length": 128},
            "steps": 400,
            "evaluate_every": 50,
        },
        (0.003, 0.01, 0.03),
    ),
    "writing": Suite(
        {
            "slots": {**_WORDS, "dataset": "snips"},
            "reviews": {"dataset": "movie_lm", "kind": "language_model", "inputs": "text"},
            "meanings": {
                **{"dataset": "e2e_nlg", "kind": "text_to_text", "metrics": "perplexity"},
                **{"inputs": "source", "targets": "target", "references": "references"},
            },
        },
        {
            **_LSTM,
            "batch": {"tokens": 1536, "row_length": 96},
            "steps": 1200,
            "evaluate_every": 200,
        },
        (0.005, 0.01, 0.02),
    ),
}


def load(name: str, data_dir: Path, fdu: Path | None, only: str | None = None) -> Loaded:
    """Read the data of a suite, or of one of its tasks, which has its share of a step's tokens."""
    suite = SUITES[name]
    content: dict[str, Any] = {"tasks": dict(suite.tasks)}
    if not suite.tasks:
        assert fdu is not None
        domains = sorted(path.parent.name for path in fdu.glob("*/train.jsonl"))
        content["tasks"] = {domain: {**_TEXT, "dataset": domain} for domain in domains}
        content["sources"] = {
            domain: {"path": str((fdu / domain).resolve()), "splits": _SPLITS} for domain in domains
        }
    config, tasks = read_config(suite.settings), parse_tasks(content, Path.cwd())
    if only is not None:
        config, tasks = _alone(config, tasks, only)
    options = data_options(config, tasks)
    data = load_data(tasks, options, tokenizer=config.tokenizer, data_dir=data_dir)
    return Loaded(config, data, build_model(config, data.layout, class_counts(data)), suite.rates)


def names_of(name: str, fdu: Path | None) -> list[str]:
    """The tasks of a suite."""
    if SUITES[name].tasks:
        return list(SUITES[name].tasks)
    return sorted(path.parent.name for path in fdu.glob("*/train.jsonl")) if fdu else []


def _alone(config: Config, tasks: tuple[Task, ...], only: str) -> tuple[Config, tuple[Task, ...]]:
    """One task, in as many steps of its share of the tokens."""
    sources = len({task.source_name for task in tasks})
    batch = dataclasses.replace(config.batch, tokens=config.batch.tokens // sources)
    chosen = tuple(task for task in tasks if task.name == only)
    return dataclasses.replace(config, batch=batch), chosen
