"""Tokenised examples of one split of an input group, with the targets of its tasks."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mtljax.data.encoding.cut_texts import counts, cut_counts
from mtljax.data.encoding.input_groups import Group, reads_word_starts
from mtljax.data.encoding.multi_part_inputs import encode_parts, first_yields
from mtljax.data.encoding.passages import Passages, cut_off, overlapping
from mtljax.data.encoding.targets import read_targets
from mtljax.data.sources.bad_rows import BadRows
from mtljax.data.sources.source import Source
from mtljax.data.tokenizers import Encodings, Text, Tokenizer
from mtljax.errors import UserError
from mtljax.kinds import KINDS, Output
from mtljax.kinds.target_rows import Rows

_BLOCK = 8192  # rows that are read at a time


@dataclass(frozen=True)
class Examples:
    """Tokenised examples, concatenated in flat arrays of `n` ids.

    Attributes:
        tokens: int32 `[n]`, ids.
        affixes: int32 `[n, A]`, hashed affixes.
        starts: int64 `[examples + 1]`, where each example starts, and the end of the last one.
        rows: int32 `[examples]`, the row of the split that each example comes from; consecutive
            examples have the same one if it was read in chunks.
        targets: by task, of the dtype of its kind: `[n]` for kinds with a target for each token,
            else `[examples]`, or `[examples, classes]` for sets of classes; 0 where there is none.
        weights: by task, float32 `[n]` or `[examples]`: `alpha_ij`, 0 where nothing is counted.
        skipped: by task, how many rows could not be used and are not counted; no entry for none.
        malformed: by data set, how many rows were left out because they could not be read.
        cut: how many `texts` and `words` there are, and how many `cut_texts` and `cut_words`
            (`mtljax.data.encoding.cut_texts`); no entry where all is read. Where taggers read
            texts as a whole it is what the other tasks lose.
        words: bool `[n]`, which ids begin a word; None where nobody asks.
        reopen: a function and its argument that open the examples again, where they are mapped from
            files: pickled examples are these two, not a copy of the arrays.
    """

    tokens: np.ndarray
    affixes: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    targets: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]
    skipped: Mapping[str, int] = field(default_factory=dict)
    malformed: Mapping[str, int] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)
    words: np.ndarray | None = None
    reopen: tuple[Callable[[Any], "Examples"], Any] | None = None

    def __reduce__(self) -> Any:
        if self.reopen is None:
            return super().__reduce__()
        function, argument = self.reopen
        return function, (argument,)

    @property
    def lengths(self) -> np.ndarray:
        """int64 `[examples]`, ids in each example."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.rows)


def read_examples(
    group: Group,
    split: str,
    sources: Mapping[str, Source],
    tokenizer: Tokenizer,
    outputs: Mapping[str, Output],
    row_length: int,
    bad_rows: BadRows = "stop",
) -> Iterator[Examples]:
    """Tokenises one split of an input group, some thousand rows at a time.

    Args:
        group: the input group.
        split: name of a split of all its data sets.
        sources: data sets by name.
        tokenizer: a trained tokenizer.
        outputs: what each task predicts, by name of task.
        row_length: ids of the longest example.
        bad_rows: what a row that cannot be used does.

    Yields:
        All rows of the split, in order, in blocks for `concatenated`. Texts longer than
        `row_length` or the group's `max_length` are truncated; those of a group of language models
        are split into consecutive chunks. Where a group has taggers, splits but train have all
        words, in overlapping passages, as `predict` reads them.

    Raises:
        UserError: with task, split and row, if a target or weight cannot be used and `bad_rows`
            is 'stop'.
    """
    suffix = () if group.chunked or group.text_to_text else tokenizer.marks.suffix
    limit = min(row_length, group.max_length or row_length) - len(suffix)
    limit += not tokenizer.marks.prefix
    names = list(dict.fromkeys(task.source_name for task in group.tasks))
    streams = [_blocks(sources[name].splits[split]) for name in names]
    # Numbers in the rows are numbers of classes where the data set names these.
    numbered = {
        task.name: bool(sources[task.source_name].features[task.targets].classes)
        for task in group.tasks
        if task.targets is not None
    }
    first = 0
    for blocks in zip(*streams, strict=True):
        rows = dict(zip(names, blocks, strict=True))
        block = _read_block(
            group, split, rows, first, sources, tokenizer, outputs, limit, bad_rows, numbered
        )
        yield with_marks(block, tokenizer, suffix)
        first += len(blocks[0])
    # How many rows were left out is known when all have been read: an empty block says it.
    malformed = {
        dataset: counts[split]
        for name in names
        for dataset, counts in (sources[name].skipped or dict)().items()
        if counts.get(split)
    }
    if malformed:
        rows = dict.fromkeys(names, ())
        empty = _read_block(
            group, split, rows, first, sources, tokenizer, outputs, limit, bad_rows, numbered
        )
        yield replace(empty, malformed=malformed)


def _blocks(rows: Iterable) -> Iterator[list]:
    # At least one block, so that an empty split has its arrays too.
    iterator = iter(rows)
    block = list(itertools.islice(iterator, _BLOCK))
    yield block
    while block := list(itertools.islice(iterator, _BLOCK)):
        yield block


def _read_block(
    group: Group,
    split: str,
    rows: Mapping[str, Rows],
    first: int,
    sources: Mapping[str, Source],
    tokenizer: Tokenizer,
    outputs: Mapping[str, Output],
    limit: int,
    bad_rows: BadRows,
    numbered: Mapping[str, bool],
) -> Examples:
    parts = _parts(group, rows[group.tasks[0].source_name])
    whole = split != "train" and reads_whole_texts(group)
    encodings = _encoded(group, parts, tokenizer, None if whole else limit)
    targets, weights = {}, {}
    skipped: Counter[str] = Counter()
    for task in group.tasks:

        def fault(row: int, reason: str, item: int | None = None, /, task=task) -> None:
            if bad_rows == "stop":
                place = _place(sources[task.source_name], split, rows[task.source_name][row], item)
                raise UserError(
                    f"task {task.name!r}, data set {task.source_name!r}, "
                    f"split {split!r}, row {first + row}{place}: {reason}"
                )
            skipped[task.name] += 1

        targets[task.name], weights[task.name] = read_targets(
            task,
            rows[task.source_name],
            encodings,
            outputs[task.name],
            tokenizer,
            fault,
            numbered.get(task.name, True),
        )
    # Passages: what is read at once of each text.
    if whole:
        passages = overlapping(encodings, limit, tokenizer.settings.word_gap)
    else:
        passages = cut_off(encodings, limit, group.chunked)
    per_token = [task.name for task in group.tasks if KINDS[task.kind].per_token]
    examples = _select(encodings, passages, targets, weights, per_token)
    if reads_word_starts(group, tokenizer.settings):
        examples = replace(examples, words=encodings.words[passages.indices] >= 0)
    if whole:
        examples = _counted_once(examples, passages, group)
    cut = _cut_counts(group, parts, encodings, passages, tokenizer, limit, whole)
    return replace(examples, rows=examples.rows + np.int32(first), skipped=dict(skipped), cut=cut)


def _cut_counts(
    group: Group,
    parts: Sequence[Sequence[Text]],
    encodings: Encodings,
    passages: Passages,
    tokenizer: Tokenizer,
    limit: int,
    whole: bool,
) -> Mapping[str, int]:
    lengths = np.diff(encodings.starts)
    if group.chunked or not len(lengths):
        return {}
    if not whole:
        return cut_counts(parts, lengths, tokenizer, limit)
    # The other tasks of the group read the first passage.
    if all(KINDS[task.kind].reads_whole_texts for task in group.tasks):
        return {}
    first = np.flatnonzero(np.diff(passages.rows, prepend=-1) > 0)
    return counts(lengths - 1, np.diff(passages.starts)[first] - 1)


def _place(source: Source, split: str, row: Mapping[str, Any], item: int | None) -> str:
    """File and line of a row, of equal rows the first, in brackets; empty where it has none."""
    # Written out, so that NaN is equal to itself.
    shown = repr(dict(row))
    place = source.locate and source.locate(split, lambda other: repr(dict(other)) == shown, item)
    return f" ({place})" if place else ""


def reads_whole_texts(group: Group) -> bool:
    """Whether some task of a group answers for all words of a text, however long it is."""
    return any(KINDS[task.kind].reads_whole_texts for task in group.tasks)


def _parts(group: Group, rows: Rows) -> list[list[Text]]:
    parts = [[row[name] for row in rows] for name in group.parts]
    if group.text_to_text:
        # A target that is missing counts for nothing.
        parts[1] = ["" if text is None else text for text in parts[1]]
    return parts


def _encoded(
    group: Group, parts: Sequence[Sequence[Text]], tokenizer: Tokenizer, limit: int | None
) -> Encodings:
    if len(parts) > 1:
        assert limit is not None
        if group.text_to_text:
            return encode_parts(parts, tokenizer, limit, first_yields, tokenizer.marks.answer)
        return encode_parts(parts, tokenizer, limit)
    # One id more than is kept, which the last position of a truncated text predicts.
    return tokenizer.encode(parts[0], None if group.chunked or limit is None else limit + 1)


def encode_inputs(
    texts: Sequence[Any],
    tokenizer: Tokenizer,
    limit: int,
    parts: int = 1,
    words: bool = False,
) -> Examples:
    """Encodes new texts as examples without targets.

    Args:
        texts: texts or lists of words; tuples of them if `parts` is not 1.
        tokenizer: a trained tokenizer.
        limit: ids of an example at most.
        parts: number of texts that are concatenated to one example.
        words: whether to say where words begin.
    """
    suffix = tokenizer.marks.suffix
    limit += (not tokenizer.marks.prefix) - len(suffix)
    if parts == 1:
        encodings = tokenizer.encode(texts, limit)
    else:
        encodings = encode_parts(
            [[text[i] for text in texts] for i in range(parts)], tokenizer, limit
        )
    passages = cut_off(encodings, limit)
    examples = _select(encodings, passages, {}, {}, [])
    if words:
        examples = replace(examples, words=encodings.words[passages.indices] >= 0)
    return with_marks(examples, tokenizer, suffix)


def with_marks(examples: Examples, tokenizer: Tokenizer, suffix: Sequence[int]) -> Examples:
    """Examples as they are read: with some ids after each, which have no target.

    And without the start mark that each has, where texts begin with none.
    """
    bare = not tokenizer.marks.prefix
    if not (suffix or bare):
        return examples
    size, ends = len(suffix) - bare, np.repeat(examples.starts[1:], len(suffix))
    firsts = examples.starts[:-1] + len(suffix) * np.arange(len(examples))
    per_token = len(examples.tokens)

    def longer(values: np.ndarray, after: Any = 0) -> np.ndarray:
        values = np.insert(values, ends, after, axis=0)
        return np.delete(values, firsts, axis=0) if bare else values

    tokens = longer(examples.tokens, np.tile(np.asarray(suffix, np.int32), len(examples)))

    def by_task(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: longer(v) if name in counted_by_token else v for name, v in values.items()}

    # Weights are a number a target: of tasks with a target a token, as many as there are ids.
    counted_by_token = {
        name for name, w in examples.weights.items() if len(w) == per_token != len(examples)
    }
    return replace(
        examples,
        tokens=tokens,
        affixes=longer(examples.affixes),
        words=None if examples.words is None else longer(examples.words),
        starts=examples.starts + size * np.arange(len(examples.starts)),
        targets=by_task(examples.targets),
        weights=by_task(examples.weights),
    )


def concatenated(blocks: Iterable[Examples]) -> Examples:
    """One `Examples` of consecutive blocks, in memory."""
    parts = list(blocks)
    if len(parts) == 1:
        return parts[0]
    ends = np.cumsum([0, *(part.starts[-1] for part in parts)])
    starts = [part.starts[:-1] + end for part, end in zip(parts, ends, strict=False)]
    skipped: Counter[str] = Counter()
    malformed: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    for part in parts:
        skipped.update(part.skipped)
        malformed.update(part.malformed)
        cut.update(part.cut)

    def by_task(name: str) -> dict[str, np.ndarray]:
        tasks = getattr(parts[0], name)
        return {task: np.concatenate([getattr(p, name)[task] for p in parts]) for task in tasks}

    words = [part.words for part in parts if part.words is not None]
    return Examples(
        words=np.concatenate(words) if words else None,
        tokens=np.concatenate([part.tokens for part in parts]),
        affixes=np.concatenate([part.affixes for part in parts]),
        starts=np.concatenate([*starts, ends[-1:]]),
        rows=np.concatenate([part.rows for part in parts]),
        targets=by_task("targets"),
        weights=by_task("weights"),
        skipped=dict(skipped),
        malformed=dict(malformed),
        cut=dict(cut),
    )


def _select(
    encodings: Encodings,
    passages: Passages,
    targets: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    per_token: Sequence[str],
) -> Examples:
    rows, indices = passages.rows, passages.indices

    def select(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: v[indices] if name in per_token else v[rows] for name, v in values.items()}

    return Examples(
        tokens=encodings.tokens[indices],
        affixes=encodings.affixes[indices],
        starts=passages.starts,
        rows=rows.astype(np.int32),
        targets=select(targets),
        weights=select(weights),
    )


def _counted_once(examples: Examples, passages: Passages, group: Group) -> Examples:
    """Examples of whole texts, where what is no tag counts in the first passage of a text alone."""
    first = np.diff(passages.rows, prepend=-1) > 0
    masks = {}
    for task in group.tasks:
        if KINDS[task.kind].reads_whole_texts:
            masks[task.name] = passages.counted
        elif KINDS[task.kind].per_token:
            masks[task.name] = np.repeat(first, examples.lengths)
        else:
            masks[task.name] = first
    weights = {
        name: np.where(masks[name], values, 0).astype(np.float32)
        for name, values in examples.weights.items()
    }
    return replace(examples, weights=weights)
