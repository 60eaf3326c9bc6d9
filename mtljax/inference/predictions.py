"""What a trained model says of new texts, as plain JSON."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data import GroupBatch, Output, Tokenizer, input_batches, split_words
from mtljax.data.catalogue.case_and_punctuation import case_and_punctuation, restored_text
from mtljax.data.tokenizers import Text
from mtljax.inference.inputs import TaskInput
from mtljax.inference.overlapping_chunks import Chunk, chunks
from mtljax.modules import encode, predict
from mtljax.modules.network import Params
from mtljax.tasks import Task
from mtljax.training.evaluation import answers
from mtljax.training.model import Model

Answer = dict[str, Any]
"""The answer of one task to one text, plain JSON."""

CASEPUNCT = "movie_casepunct"
"""The data set whose tags are case and punctuation."""

Function = Callable[[Params, GroupBatch], dict[str, jax.Array]]


def make_answers(model: Model, group_name: str, tasks: Sequence[Task]) -> Function:
    """Return a jitted ``(params, batch) -> {task: values}`` for tasks of one input group.

    Values are tag ids ``[R, S]`` for tagging, numbers ``[R, N]`` for regression, and probabilities
    ``[R, N, classes]``: for classification the sigmoid of a single logit, else the softmax, and for
    multilabel the sigmoid of each class.
    """
    count = model.layout.shapes[group_name].max_segments

    def said(params: Params, batch: GroupBatch) -> dict[str, jax.Array]:
        features = encode(model.network, params["shared"], group_name, batch)
        found = {}
        for task in tasks:
            head = params["heads"][task.name]
            predictions = predict(model.network, head, task.name, features, count)
            assert isinstance(predictions, jax.Array)
            if task.kind == "multilabel":
                found[task.name] = jax.nn.sigmoid(predictions)
            elif task.kind != "classification":
                found[task.name] = answers(task, predictions)
            elif predictions.shape[-1] < model.layout.outputs[task.name].num_classes:
                # Both sides from the logit itself: 1 - p has no digits left where p is near 1.
                found[task.name] = jax.nn.sigmoid(predictions * jnp.asarray([-1.0, 1.0]))
            else:
                found[task.name] = jax.nn.softmax(predictions, axis=-1)
        return found

    return jax.jit(said)


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
    as much of it as fits a row.

    Args:
      function: from `make_answers`, for these tasks.
      params: parameters.
      model: the model.
      tokenizer: its tokenizer.
      group_name: the input group.
      tasks: tasks of the group that are no language models.
      texts: texts or lists of words; for a group that reads several features, tuples of them.

    Returns:
      For each text the answer of each task.
    """
    plans: list[_Plan] | None = None
    passages: Sequence[Any] = texts
    firsts = list(range(len(texts)))
    if any(task.kind == "tagging" for task in tasks):
        limit = reading_length(model, group_name) - 1
        plans = [_plan(cast(Text, text), tasks, tokenizer, limit) for text in texts]
        # The first chunk of a text is what the text would be if it were cut off.
        firsts = np.cumsum([0, *(len(plan.chunks) for plan in plans)])[:-1].tolist()
        passages = [plan.words[c.begin : c.end] for plan in plans for c in plan.chunks]
    values: dict[str, list[Any]] = {task.name: [None] * len(passages) for task in tasks}
    for batch in input_batches(passages, group_name, model.layout, tokenizer):
        arrays = {name: value for name, value in batch.items() if name != "example"}
        said = jax.device_get(function(params, arrays))
        for task in tasks:
            for number, value in _by_example(batch, said[task.name], task.kind == "tagging"):
                values[task.name][number] = value
    found: list[dict[str, Answer]] = [{} for _ in texts]
    for task in tasks:
        output = model.layout.outputs[task.name]
        for i, first in enumerate(firsts):
            value = values[task.name][first]
            if task.kind == "regression":
                found[i][task.name] = {"value": float(value)}
            elif task.kind == "multilabel":
                found[i][task.name] = _labelled(output, value)
            elif task.kind == "classification":
                found[i][task.name] = _classified(output, value)
            else:
                assert plans is not None
                tags = _merged(plans[i], values[task.name][first:])
                names = [output.classes[tag] for tag in tags]
                found[i][task.name] = _tagged(task, plans[i].words, names)
    return found


def reading_length(model: Model, group_name: str) -> int:
    """Pieces that a model reads at once, the start mark among them."""
    length = model.layout.shapes[group_name].row_length
    return min(length, model.layout.group(group_name).max_length or length)


class _Plan(NamedTuple):
    """A text for a tagger: its words, the ids that each takes, and the chunks it is read in."""

    words: list[str]
    pieces: Sequence[int]
    chunks: Sequence[Chunk]


def _plan(text: Text, tasks: Sequence[Task], tokenizer: Tokenizer, limit: int) -> _Plan:
    # A text is split as the training data was, where that is known.
    if any(task.dataset == CASEPUNCT for task in tasks):
        words = case_and_punctuation(text if isinstance(text, str) else " ".join(text))[0]
    else:
        words = split_words(text) if isinstance(text, str) else list(text)
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


def _merged(plan: _Plan, said: Sequence[np.ndarray]) -> list[int]:
    # The tag of a word is the one at its first piece; <s> stands before them all.
    tags: list[int] = []
    for chunk, values in zip(plan.chunks, said, strict=False):
        sizes = plan.pieces[chunk.begin : chunk.end]
        at = 1 + np.cumsum([0, *sizes])[chunk.first - chunk.begin : chunk.last - chunk.begin]
        tags += values[at].tolist()
    return tags


def _tagged(task: Task, words: list[str], tags: list[str]) -> Answer:
    answer: Answer = {"words": words, "tags": tags}
    if task.dataset == CASEPUNCT:
        answer["restored"] = restored_text(words, tags)
    return answer


def _labelled(output: Output, probabilities: np.ndarray) -> Answer:
    shares = dict(zip(output.classes, map(float, probabilities), strict=True))
    labels = [name for name, share in shares.items() if share > 0.5]
    return {"labels": labels, "probabilities": shares}


def _classified(output: Output, probabilities: np.ndarray) -> Answer:
    shares = dict(zip(output.classes, map(float, probabilities), strict=True))
    return {"label": output.classes[int(np.argmax(probabilities))], "probabilities": shares}
