"""The answers of a trained model to new texts, as plain JSON."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from mtljax.data import GroupBatch, Tokenizer, input_batches
from mtljax.data.batching.batches import HOST_ONLY
from mtljax.data.catalogue.tagged_text import PLAIN, tagged_text
from mtljax.data.encoding.overlapping_chunks import Chunk, chunks
from mtljax.data.tokenizers import Text
from mtljax.inference.inputs import TaskInput
from mtljax.kinds import KINDS
from mtljax.modules import Readout, TagScores, encode, predict, shared_and_private
from mtljax.modules.network import Params
from mtljax.tasks import Task
from mtljax.training.evaluation import predicted_targets
from mtljax.training.model import Model

Answer = dict[str, Any]
"""The answer of one task to one text, plain JSON."""

Function = Callable[[Params, GroupBatch], dict[str, jax.Array]]


def make_answers(model: Model, group_name: str, tasks: Sequence[Task]) -> Function:
    """Return a jitted ``(params, batch) -> {task: values}`` for tasks of one input group.

    Values are what the answers of each kind of task need: class ids ``[R, S]``, numbers ``[R, N]``,
    or probabilities ``[R, N, classes]``.
    """
    count = model.layout.shapes[group_name].max_segments

    def compute_values(params: Params, batch: GroupBatch) -> dict[str, jax.Array]:
        shared = shared_and_private(model.network, params, group_name)
        features = encode(model.network, shared, group_name, batch)
        computed = {}
        for task in tasks:
            head = params["heads"][task.name]
            predictions = predict(model.network, head, task.name, features, count)
            assert not isinstance(predictions, Readout)
            values, output = KINDS[task.kind].answer_values, model.layout.outputs[task.name]
            if values is None or isinstance(predictions, TagScores):
                computed[task.name] = predicted_targets(task, predictions, output)
            else:
                computed[task.name] = values(predictions, output.num_classes)
        return computed

    return jax.jit(compute_values)


def group_answers(
    function: Function,
    params: Params,
    model: Model,
    tokenizer: Tokenizer,
    group_name: str,
    tasks: Sequence[Task],
    texts: Sequence[TaskInput],
) -> list[dict[str, Answer]]:
    """The answers of some tasks of one input group.

    Tagging covers all words of a text, in overlapping chunks where it is long. The other kinds read
    as much of the text as fits a row.

    Args:
      function: the function from `make_answers` for these tasks.
      params: the parameters of the model.
      model: the network and its data layout.
      tokenizer: the tokenizer of the model.
      group_name: name of the input group.
      tasks: tasks of the group that do not write text.
      texts: texts or lists of words; for a group that reads several features, tuples of them.

    Returns:
      For each text the answer of each task.
    """
    # Texts become the passages that rows are packed with: chunks of them for taggers.
    plans: list[_Plan] | None = None
    passages: Sequence[Any] = texts
    firsts = list(range(len(texts)))
    if any(KINDS[task.kind].reads_whole_texts for task in tasks):
        around = len(tokenizer.marks.prefix) + len(tokenizer.marks.suffix)
        limit = reading_length(model, group_name) - around
        plans = [_plan(cast(Text, text), tasks, tokenizer, limit) for text in texts]
        # The first chunk of a text is the text as it would be truncated, for the other kinds.
        firsts = np.cumsum([0, *(len(plan.chunks) for plan in plans)])[:-1].tolist()
        passages = [plan.words[c.begin : c.end] for plan in plans for c in plan.chunks]

    # Values of each passage, which batches return in the order of their rows.
    values: dict[str, list[Any]] = {task.name: [None] * len(passages) for task in tasks}
    for batch in input_batches(passages, group_name, model.layout, tokenizer):
        arrays = {name: value for name, value in batch.items() if name not in HOST_ONLY}
        computed = jax.device_get(function(params, arrays))
        for task in tasks:
            per_token = KINDS[task.kind].per_token
            for number, value in _by_example(batch, computed[task.name], per_token):
                values[task.name][number] = value

    answers: list[dict[str, Answer]] = [{} for _ in texts]
    for task in tasks:
        kind, output = KINDS[task.kind], model.layout.outputs[task.name]
        for i, first in enumerate(firsts):
            if kind.per_token:
                assert plans is not None
                tags = _merged(plans[i], values[task.name][first:], len(tokenizer.marks.prefix))
                value, words = tags, plans[i].words
            else:
                value, words = values[task.name][first], []
            answer = kind.answer(value, output, words)
            restore = tagged_text(task.dataset).restore
            if kind.per_token and restore is not None:
                answer["restored"] = restore(words, answer["tags"])
            answers[i][task.name] = answer
    return answers


def reading_length(model: Model, group_name: str) -> int:
    """Number of ids that a model reads at once, the start mark included."""
    length = model.layout.shapes[group_name].row_length
    return min(length, model.layout.group(group_name).max_length or length)


class _Plan(NamedTuple):
    """A text for a tagger: its words, the ids that each takes, and the chunks it is read in."""

    words: list[str]
    pieces: Sequence[int]
    chunks: Sequence[Chunk]


def _plan(text: Text, tasks: Sequence[Task], tokenizer: Tokenizer, limit: int) -> _Plan:
    # A text is split as the training data was, where that is known.
    forms = [tagged_text(task.dataset) for task in tasks]
    words = next((form for form in forms if form != PLAIN), PLAIN).split(text)
    gap = tokenizer.settings.word_gap
    if tokenizer.settings.kind == "words":
        pieces = [1] * len(words)
    else:
        encodings = tokenizer.encode([[word] for word in words], limit + 1)
        pieces = (np.diff(encodings.starts) - 1 + gap).tolist()
    # The gap behind the last word of a chunk is not there.
    return _Plan(words, pieces, chunks(pieces, limit + gap))


def _by_example(
    batch: GroupBatch, values: np.ndarray, per_position: bool
) -> Iterator[tuple[int, np.ndarray]]:
    for row, segment in zip(*np.nonzero(batch["example"] >= 0), strict=True):
        value = values[row]
        inside = batch["segments"][row] == segment + 1 if per_position else segment
        yield int(batch["example"][row, segment]), value[inside]


def _merged(plan: _Plan, tag_ids: Sequence[np.ndarray], before: int) -> list[int]:
    # The tag of a word is the one at its first piece; marks stand before them all.
    tags: list[int] = []
    for chunk, values in zip(plan.chunks, tag_ids, strict=False):
        sizes = plan.pieces[chunk.begin : chunk.end]
        at = before + np.cumsum([0, *sizes])[chunk.first - chunk.begin : chunk.last - chunk.begin]
        tags += values[at].tolist()
    return tags
