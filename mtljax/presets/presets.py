"""The presets: functions that return a configuration and the tasks that it trains by default."""

import dataclasses
import os
from collections.abc import Callable
from typing import NamedTuple

from mtljax.data.catalogue.load_source import is_prepared
from mtljax.data.tokenizers import TokenizerSettings
from mtljax.errors import UserError
from mtljax.modules.config import EncoderConfig, HeadsConfig
from mtljax.presets.config import BatchConfig, Config, OptimizerConfig, ParallelConfig
from mtljax.tasks import DEFAULT_TASKS, SENTIMENT_TASKS, Task, suggestion

_IMDB = "imdb_reviews"


class Preset(NamedTuple):
    """A configuration with its default tasks.

    Attributes:
      config: the configuration.
      tasks: the tasks that are trained when no tasks file is given.
    """

    config: Config
    tasks: tuple[Task, ...]


def small() -> Preset:
    """A causal LSTM of width 192 over words and their affixes; three minutes on two CPU cores."""
    config = Config(
        preset="small",
        steps=1500,
        evaluate_every=150,
        tokenizer=TokenizerSettings(prefixes=(3,), suffixes=(2, 3, 4), affix_buckets=4096),
        encoder=EncoderConfig(
            features=192,
            word_dropout=0.1,
            token_dropout=0.1,
            embedding_dropout=0.3,
            dropout=0.4,
        ),
        heads=HeadsConfig(
            pooling=("mean", "attention"), dropout=0.5, tag_dropout=0.2, tag_hidden=128
        ),
    )
    return Preset(config, DEFAULT_TASKS)


def auto() -> Preset:
    """What the data chooses, see `mtljax.presets.choose`; without a look at it, `small`."""
    return Preset(dataclasses.replace(small().config, preset="auto"), DEFAULT_TASKS)


def linear() -> Preset:
    """A linear model of words, their stems and endings, and word pairs.

    The tasks share one low-rank factor of the weights; each has a linear head.
    """
    config = Config(
        preset="linear",
        steps=400,
        evaluate_every=50,
        tokenizer=TokenizerSettings(prefixes=(4,), suffixes=(3,), shape=False, min_count=1),
        encoder=EncoderConfig(kind="linear", embedding=64, features=64),
        heads=HeadsConfig(pooling=("root",)),
        optimizer=OptimizerConfig(learning_rate=1e-3),
    )
    return Preset(config, SENTIMENT_TASKS)


def textbook() -> Preset:
    """The textbook model: embedding, shared LSTM, shared dense layer, one sigmoid per task.

    Vocabulary 10,000 with ``<oov>``, texts up to 500 words, widths 128, dropout 0.5, Adam, binary
    cross-entropy, batches of 32 texts, 10 epochs. `default_tasks` has the tasks where imdb_reviews
    is prepared.
    """
    config = Config(
        preset="textbook",
        epochs=10,
        evaluate_every=100,
        tokenizer=TokenizerSettings(
            num_words=10_000, min_count=1, prefixes=(), suffixes=(), shape=False
        ),
        batch=BatchConfig(row_length=501),
        encoder=EncoderConfig(dense=128, embedding_dropout=0.5, dropout=0.5, dropout_mask="text"),
        heads=HeadsConfig(pooling=("mean",)),
        optimizer=OptimizerConfig(
            learning_rate=1e-3, schedule="constant", warmup_steps=0, b2=0.999, clip_norm=0.0
        ),
    )
    tasks = tuple(
        Task(**{**vars(task), "loss": "sigmoid", "batch_size": 32}) for task in SENTIMENT_TASKS
    )
    return Preset(config, tasks)


def _transformer(name: str, width: int, layers: int, heads: int, rate: float) -> Preset:
    config = Config(
        preset=name,
        steps=100_000,
        evaluate_every=1000,
        log_every=100,
        tokenizer=TokenizerSettings(kind="wordpiece", vocab_size=32_000),
        batch=BatchConfig(tokens=2**17, row_length=512),
        encoder=EncoderConfig(
            kind="transformer",
            embedding=width,
            features=width,
            layers=layers,
            heads=heads,
            feed_forward=4 * width,
            remat="full",
            dropout=0.1,
        ),
        heads=HeadsConfig(pooling=("mean",), negatives=0),
        optimizer=OptimizerConfig(
            learning_rate=rate, warmup_steps=2000, b2=0.98, weight_decay=0.01, average=0.0
        ),
    )
    return Preset(config, DEFAULT_TASKS)


def base() -> Preset:
    """A transformer of the size of BERT base: 12 layers of width 768, 110 M shared parameters."""
    return _transformer("base", width=768, layers=12, heads=12, rate=4e-4)


def large() -> Preset:
    """A transformer of the size of BERT large: 24 layers of width 1024, 335 M shared parameters."""
    return _transformer("large", width=1024, layers=24, heads=16, rate=2e-4)


def finetune() -> Preset:
    """For a pretrained encoder (`--encoder.pretrained`) or another run's: three epochs of AdamW.

    The settings that Devlin et al. (2019, appendix A.3) recommend for BERT, with heads that learn
    ten times as fast, since they begin at random: linear decay after a warm-up of 6 %, dropout and
    weight decay of 0.1 and 0.01, clipping at 1, no moving average.
    """
    config = Config(
        preset="finetune",
        epochs=3,
        batch=BatchConfig(row_length=128),
        encoder=EncoderConfig(kind="transformer", dropout=0.1),
        heads=HeadsConfig(pooling=("mean",), dropout=0.1, tag_dropout=0.1, negatives=0),
        optimizer=OptimizerConfig(
            learning_rate=5e-5,
            schedule="linear",
            warmup_steps=0,
            warmup_share=0.06,
            final_fraction=0.0,
            b2=0.999,
            weight_decay=0.01,
            average=0.0,
            rates=("^heads/=10",),
        ),
    )
    return Preset(config, DEFAULT_TASKS)


def xl() -> Preset:
    """A transformer of 24 layers of width 2048: 1.3 B shared parameters, sharded over devices."""
    replicated = _transformer("xl", width=2048, layers=24, heads=16, rate=1e-4)
    parallel = ParallelConfig(sharding="fsdp")
    return replicated._replace(config=dataclasses.replace(replicated.config, parallel=parallel))


PRESETS: dict[str, Callable[[], Preset]] = {
    "small": small,
    "auto": auto,
    "linear": linear,
    "textbook": textbook,
    "base": base,
    "large": large,
    "xl": xl,
    "finetune": finetune,
}
"""Every preset by name."""


def preset(name: str) -> Preset:
    """Return a preset.

    Args:
      name: one of `PRESETS`.

    Raises:
      UserError: if there is no preset of that name.
    """
    if name not in PRESETS:
        raise UserError(f"preset {name!r}: unknown{suggestion(name, PRESETS)}")
    return PRESETS[name]()


def default_tasks(name: str, data_dir: str | os.PathLike[str] | None = None) -> tuple[Task, ...]:
    """Return the tasks that a preset trains when no tasks file is given.

    Args:
      name: of the preset.
      data_dir: directory of data sets in TFDS format. The preset `textbook` trains on imdb_reviews
        in place of movie_sentiment if that is prepared there.

    Returns:
      The tasks.

    Raises:
      UserError: if there is no such preset.
    """
    tasks = preset(name).tasks
    if name != "textbook" or not is_prepared(_IMDB, data_dir):
        return tasks
    return tuple(
        dataclasses.replace(task, name=_IMDB, dataset=_IMDB)
        if task.dataset == "movie_sentiment"
        else task
        for task in tasks
    )
