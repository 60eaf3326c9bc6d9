"""Loading the data of a run: reads, tokenises and packs the data sets that its tasks name."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from mtljax.data.batching.batches import Shape
from mtljax.data.batching.mixture import num_stages, progress, rows_per_group
from mtljax.data.batching.row_order import RowPlan, plan_rows
from mtljax.data.catalogue.load_sources import load_sources
from mtljax.data.encoding.cache import Cache, Say, cache_key, cached_examples, cached_json
from mtljax.data.encoding.examples import Examples, read_examples
from mtljax.data.encoding.input_groups import Group, input_groups, reads_word_starts
from mtljax.data.encoding.outputs import check_classes, task_output
from mtljax.data.layout import Layout
from mtljax.data.multitask_data import MultitaskData
from mtljax.data.options import DEFAULT_OPTIONS, DataOptions
from mtljax.data.sources.samples import sampled
from mtljax.data.sources.source import Source, first_rows
from mtljax.data.tokenizers import (
    Text,
    Tokenizer,
    TokenizerSettings,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)
from mtljax.data.tokenizers.word_splitting import WORD_RULE
from mtljax.errors import UserError
from mtljax.kinds import KINDS, Output
from mtljax.kinds.labels import short
from mtljax.tasks.dataset import SPLITS
from mtljax.tasks.task import Task


def load_data(
    tasks: Sequence[Task],
    options: DataOptions = DEFAULT_OPTIONS,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    tokenizer: Tokenizer | TokenizerSettings | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    say: Say = lambda text: None,
    sample: int = 0,
    begun: Mapping[str, Output] | None = None,
) -> MultitaskData:
    """Reads, tokenises and packs the data of some tasks.

    Args:
        tasks: with unique names.
        options: how their texts are read and batched.
        data_dir: where data sets in TFDS format lie.
        tokenizer: a trained one, or how to train one on the training splits.
        cache_dir: where tokenised data is kept and looked for, by its content; None keeps it in
            memory.
        say: is called with one line for each file of the cache that cannot be used.
        sample: rows that are read of a split at most, from its first on; 0 for all. Rows are then
            shared among the groups by the sizes of the full splits, estimated from the sample.
        begun: what each task predicts in the run that is continued or evaluated, whose classes stay
            where all that occur are among them, and numbers in the units of that run; None for a
            new run.

    Returns:
        All splits of all tasks, ready to be batched.

    Raises:
        UserError: for a data set, feature, label or rate that cannot be used.
    """
    _check_arguments(tasks, options.row_length, options.batch_tokens)
    cache = Cache(None if cache_dir is None else Path(cache_dir), say)

    # Sources. Rows are read lazily, so that what the cache holds is never read, only hashed.
    all_sources = load_sources(tasks, data_dir, options.bad_rows)
    if options.samples:
        all_sources = {
            name: sampled(source, options.samples, options.seed)
            for name, source in all_sources.items()
        }
        for name, source in all_sources.items():
            if (count := _train_rows(source)) < options.samples:
                say(f"samples: {name!r} has {count} training rows, not {options.samples}; uses all")
    sources = all_sources
    if sample:
        sources = {name: first_rows(source, sample) for name, source in all_sources.items()}
    groups = input_groups(tasks, sources, options.attention, apart=options.apart)
    digests = {
        name: None if source.fingerprint is None else source.fingerprint()
        for name, source in sources.items()
    }

    # Tokenizer and outputs come first: the ids and targets of all examples depend on them.
    if tokenizer is None or isinstance(tokenizer, TokenizerSettings):
        tokenizer = _tokenizer(groups, sources, tokenizer or TokenizerSettings(), cache, digests)
    tokenizer_key = cache_key(tokenizer.settings, tokenizer.to_json()) if cache.directory else ""
    outputs = {
        task.name: _output(
            task,
            sources,
            tokenizer,
            cache,
            digests,
            tokenizer_key,
            (begun or {}).get(task.name),
        )
        for task in tasks
    }

    for task in tasks:
        classes = outputs[task.name].classes
        if len(classes) == 1 and not KINDS[task.kind].per_class:
            say(f"task {task.name!r}: all its targets are of one class, {short(classes[0])}")

    # Examples of every split, and how those of train are packed into rows. A key names all that
    # determines them; without one (a source of unknown content) they are not kept.
    examples: dict[str, dict[str, Examples]] = {}
    plans: dict[str, RowPlan] = {}
    for group in groups:
        key = _group_key(group, digests, tokenizer_key, outputs, options)
        splits = sources[group.tasks[0].source_name].splits
        examples[group.name] = {
            split: cached_examples(
                cache,
                key and cache_key(key, split),
                functools.partial(
                    read_examples,
                    group,
                    split,
                    sources,
                    tokenizer,
                    outputs,
                    options.row_length,
                    options.bad_rows,
                ),
            )
            for split in SPLITS
            if split in splits
        }
        plans[group.name] = _plan(examples[group.name]["train"], options.row_length, cache, key)

    # Rows of each group in a step, stage by stage; static shapes are those of the first stage.
    scale = {
        name: _train_rows(source) / max(1, _train_rows(sources[name]))
        for name, source in all_sources.items()
    }
    stages = _stages(groups, examples, scale, options)
    layout = Layout(
        groups=groups,
        outputs=outputs,
        shapes={
            group.name: Shape(
                rows=stages[0][group.name],
                row_length=options.row_length,
                max_segments=plans[group.name].max_segments,
                affixes=tokenizer.settings.affixes,
                words=reads_word_starts(group, tokenizer.settings),
            )
            for group in groups
        },
        vocab_size=tokenizer.vocab_size,
        affix_buckets=tokenizer.settings.affix_buckets if tokenizer.settings.hashed else 0,
        marks=tokenizer.marks,
        characters=tokenizer.settings.spelled,
    )
    return MultitaskData(
        tokenizer, layout, examples, plans, stages, options.mixture, sources, digests
    )


def _train_rows(source: Source) -> int:
    return len(source.splits["train"])


def _check_arguments(tasks: Sequence[Task], row_length: int, batch_tokens: int) -> None:
    if not tasks:
        raise UserError("no tasks")
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"duplicate task name {name!r}")
    if row_length < 2:
        raise UserError(f"row_length {row_length}: must be at least 2")
    for task in tasks:
        if row_length < len(task.parts):
            raise UserError(
                f"row_length {row_length}: too short for the {len(task.parts)} inputs of task "
                f"{task.name!r}"
            )
    if batch_tokens < row_length:
        raise UserError(f"batch_tokens {batch_tokens}: must be at least row_length, {row_length}")


def _corpora(groups: Sequence[Group], sources: Mapping[str, Source]) -> dict[tuple[str, str], Any]:
    # The same text is counted once, however many tasks and groups read it.
    corpora = {}
    for group in groups:
        name = group.tasks[0].source_name
        for feature in group.parts:
            corpora.setdefault((sources[name].identity, feature), (name, feature))
    return corpora


def _texts(source: Source, feature: str) -> Iterator[Text]:
    # The target text of a row may be missing.
    return (text for row in source.splits["train"] if (text := row[feature]) is not None)


def _tokenizer(
    groups: Sequence[Group],
    sources: Mapping[str, Source],
    settings: TokenizerSettings,
    cache: Cache,
    digests: Mapping[str, str | None],
) -> Tokenizer:
    corpora = list(_corpora(groups, sources).values())

    def train() -> Tokenizer:
        return train_tokenizer(
            (_texts(sources[name], feature) for name, feature in corpora), settings
        )

    if cache.directory is None or any(digests[name] is None for name, _ in corpora):
        return train()
    # Another version of the library may learn other pieces from the same texts.
    version = metadata.version("tokenizers")
    key = cache_key(
        settings, version, WORD_RULE, [(digests[name], inputs) for name, inputs in corpora]
    )
    path = cache.directory / "tokenizers" / f"{key}.json"
    if path.exists():
        try:
            return load_tokenizer(path)
        except UserError as error:
            cache.say(f"cache: {error}; made again")
    tokenizer = train()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tokenizer(tokenizer, path)
    except OSError as error:
        cache.say(f"cache: cannot write {path}: {error.strerror or error}")
    return tokenizer


def _output(
    task: Task,
    sources: Mapping[str, Source],
    tokenizer: Tokenizer,
    cache: Cache,
    digests: Mapping[str, str | None],
    tokenizer_key: str,
    begun: Output | None,
) -> Output:
    digest = digests[task.source_name]
    kept = (begun.classes, begun.mean, begun.deviation) if begun else None
    key = None if digest is None else cache_key(digest, tokenizer_key, _fields(task), kept)
    source = sources[task.source_name]
    make = lambda: task_output(task, source, tokenizer, begun).to_json()  # noqa: E731
    output = Output.from_json(cached_json(cache, "outputs", key, make))
    check_classes(task, output.classes)
    return output


def _fields(task: Task) -> dict[str, Any]:
    # All fields but the name and those that say how much the task counts and is read.
    ignored = ("name", "dataset", "sources", "rate", "batch_size", "weight", "metrics")
    return {name: value for name, value in vars(task).items() if name not in ignored}


def _group_key(
    group: Group,
    digests: Mapping[str, str | None],
    tokenizer_key: str,
    outputs: Mapping[str, Output],
    options: DataOptions,
) -> str | None:
    contents = [digests[task.source_name] for task in group.tasks]
    if any(digest is None for digest in contents):
        return None
    tasks = [(task.name, _fields(task), outputs[task.name].to_json()) for task in group.tasks]
    reading = [group.inputs, group.max_length, group.chunked, options.row_length, options.bad_rows]
    return cache_key(contents, tokenizer_key, tasks, reading)


def _plan(examples: Examples, row_length: int, cache: Cache, key: str | None) -> RowPlan:
    def make() -> dict[str, Any]:
        plan = plan_rows(examples, row_length)
        return {"rows": plan.rows.tolist(), "max_segments": plan.max_segments}

    plan = cached_json(cache, "plans", key and cache_key(key, row_length), make)
    return RowPlan(np.asarray(plan["rows"], np.int64), plan["max_segments"])


_MAX_POSITIONS = 2**31 - 1  # they are numbered in int32


def _stages(
    groups: Sequence[Group],
    examples: Mapping[str, Mapping[str, Examples]],
    scale: Mapping[str, float],
    options: DataOptions,
) -> tuple[dict[str, int], ...]:
    train = {name: splits["train"] for name, splits in examples.items()}
    group_scale = {group.name: scale[group.tasks[0].source_name] for group in groups}
    count = num_stages(groups, options.mixture)
    stages = tuple(
        rows_per_group(
            groups,
            {
                name: round(int(split.starts[-1]) * group_scale[name])
                for name, split in train.items()
            },
            {name: round(len(split) * group_scale[name]) for name, split in train.items()},
            options.batch_tokens,
            options.row_length,
            options.mixture,
            progress(stage, count),
            options.row_multiple,
        )
        for stage in range(count)
    )
    for stage in stages:
        for name, rows in stage.items():
            positions = rows * options.row_length
            if positions > _MAX_POSITIONS:
                raise UserError(
                    f"input group {name!r}: a step of {positions:.3g} positions is larger "
                    f"than 2^31 - 1; make batch_size or batch_tokens smaller"
                )
    return stages
