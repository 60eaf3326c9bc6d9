"""The functions of a run that are exported: of any number of rows, of any length."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.errors import UserError
from mtljax.generation import Sampling, decode
from mtljax.inference.decoder import make_decodable, prepare
from mtljax.kinds import KINDS
from mtljax.modules import Readout, TagScores, encode, predict, shared_and_private
from mtljax.tasks import Task, chains_tags
from mtljax.training.evaluation import predicted_targets
from mtljax.training.model import Model

LEAST_LENGTH = 8
"""Columns of a batch, at least: more than a tagger looks ahead."""

Inputs = dict[str, jax.Array]
"""``tokens`` and ``segments`` int32 ``[b, s]``, 1 where there is a token and 0 where there is none;
``affixes`` ``[b, s, A]`` where the tokenizer has some. Texts begin at the first column.
"""

Function = Callable[[Any, Inputs], dict[str, jax.Array]]
"""From parameters and inputs to the values of each task."""


class Exported(NamedTuple):
    """A function to be exported.

    Attributes:
      name: of its file.
      tasks: that it answers.
      function: of parameters and inputs.
      room: tokens that it writes at most; 0 where it writes none.
    """

    name: str
    tasks: tuple[Task, ...]
    function: Function
    room: int = 0


def exported_functions(
    model: Model, affixes: np.ndarray, tasks: Sequence[str], preview: int
) -> list[Exported]:
    """The functions of some tasks: one for those of an input group, one for each that writes.

    Args:
      model: the model.
      affixes: int32 ``[V, A]``, the affixes of every token.
      tasks: names of the tasks.
      preview: tokens by which a language model continues a text.

    Raises:
      UserError: a task that there is no answer for here.
    """
    found = []
    for group in model.layout.groups:
        asked = [task for task in group.tasks if task.name in tasks]
        for task in asked:
            if task.kind not in _KNOWN:
                raise UserError(f"task {task.name!r}: kind {task.kind!r} cannot be exported")
            if chains_tags(task) and model.layout.shapes[group.name].words:
                raise UserError(
                    f"task {task.name!r}: tags that are chosen text by text are exported where "
                    "pieces are words, not of words of several pieces"
                )
        direct = tuple(task for task in asked if not KINDS[task.kind].writes)
        if direct:
            name = f"answers-{len(found)}"
            found.append(Exported(name, direct, _answers(model, group.name, direct)))
        for task in asked:
            writes = KINDS[task.kind].writes
            if writes:
                length = model.layout.shapes[group.name].row_length
                width = min(length, group.max_length or length)
                room = preview if writes == "continuation" else width // 2
                name = f"writes-{len(found)}"
                # An answer ends where a row does; what continues a text may go on.
                most = width if writes == "answer" else None
                writer = _writer(model, task, affixes, room, most)
                found.append(Exported(name, (task,), writer, room))
    return found


_KNOWN = (
    *("classification", "multilabel", "regression", "tagging"),
    *("language_model", "text_to_text"),
)


def _batch(inputs: Inputs) -> dict[str, jax.Array]:
    positions = jnp.maximum(jnp.cumsum(inputs["segments"], axis=1) - 1, 0)
    return {**inputs, "positions": positions.astype(jnp.int32)}


def _at_the_end(inputs: Inputs) -> Inputs:
    """Texts moved from the first columns to the last ones, where a decoder reads prompts."""
    size = inputs["segments"].shape[1]
    count = inputs["segments"].sum(1, keepdims=True)
    source = jnp.arange(size) - (size - count)

    def moved(values: jax.Array) -> jax.Array:
        where = source.reshape(*source.shape, *(1,) * (values.ndim - 2))
        taken = jnp.take_along_axis(values, jnp.maximum(where, 0), axis=1)
        return jnp.where(where >= 0, taken, 0)

    return {name: moved(values) for name, values in inputs.items()}


def _answers(model: Model, group: str, tasks: Sequence[Task]) -> Function:
    """Probabilities ``[b, classes]``, numbers ``[b]`` in the units of the data, tags ``[b, s]``."""

    def answers(params: Any, inputs: Inputs) -> dict[str, jax.Array]:
        shared = shared_and_private(model.network, params, group)
        features = encode(model.network, shared, group, _batch(inputs))
        values = {}
        for task in tasks:
            kind, output = KINDS[task.kind], model.layout.outputs[task.name]
            head = params["heads"][task.name]
            predictions = predict(model.network, head, task.name, features, 1)
            assert not isinstance(predictions, Readout)
            if kind.answer_values is None or isinstance(predictions, TagScores):
                value = predicted_targets(task, predictions, output)
            else:
                value = kind.answer_values(predictions, output.num_classes)
            if not kind.per_token:
                value = value[:, 0]
            if kind.standardized:
                value = output.mean + output.deviation * value
            values[task.name] = value
        return values

    return answers


def _writer(
    model: Model, task: Task, affixes: np.ndarray, room: int, width: int | None
) -> Function:
    """The most probable tokens after each prompt: ids ``[b, room]``, -1 after the last."""
    ids = np.asarray(model.layout.outputs[task.name].ids, np.int32)
    decodable = make_decodable(model, task.name, affixes)
    marks = model.layout.marks
    end = int(np.flatnonzero(ids == marks.end)[0])
    banned = tuple(np.flatnonzero((ids == marks.unknown) & (ids != marks.end)).tolist())

    def write(params: Any, inputs: Inputs) -> dict[str, jax.Array]:
        rows = inputs["tokens"].shape[0]
        left = room if width is None else width + 1 - inputs["segments"].sum(1)
        written = decode(
            decodable,
            prepare(model, task.name, params),
            _batch(_at_the_end(inputs)),
            # Nothing is drawn.
            jnp.broadcast_to(jax.random.key(0), rows),
            jnp.broadcast_to(jnp.minimum(left, room), rows),
            room,
            Sampling(temperature=0.0),
            banned=banned,
            ends=(end,),
        )
        classes = written.tokens
        return {task.name: jnp.where(classes >= 0, jnp.asarray(ids)[classes], -1)}

    return write
