"""Evaluation: one pass over a split, metrics as mergeable states."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtljax import metrics
from mtljax.data import MultitaskData, unpack
from mtljax.modules import Readout, encode, predict
from mtljax.tasks import KINDS, LOWER_IS_BETTER, Task, main_metric, metric_names, span_scheme
from mtljax.training.model import Model
from mtljax.training.objective import element_losses, full_softmax_loss
from mtljax.training.text_likelihood import text_likelihood

Values = dict[str, dict[str, float]]
"""Metric values by task and metric."""

PLAIN_WORDS = "perplexity_plain_words"
"""Perplexity where unknown words are all read alike: comparable with models of whole words."""

_UNKNOWN = 1


def answers(task: Task, predictions: jax.Array) -> jax.Array:
    """What a task's predictions say: class ids, or numbers for regression.

    For multilabel, 1 for each class that is more probable than not, else 0.

    Args:
      task: the task.
      predictions: ``[..., outputs]``.

    Returns:
      ``[...]``, int32 (float32 for regression); ``[..., outputs]`` for multilabel.
    """
    if task.kind == "multilabel":
        return (predictions > 0).astype(jnp.int32)
    if task.kind == "regression":
        return predictions[..., 0]
    if predictions.shape[-1] == 1:
        return (predictions[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(predictions, axis=-1).astype(jnp.int32)


def make_group_evaluation(
    model: Model, group_name: str, where: jax.sharding.Sharding | None = None
) -> Callable[..., Any]:
    """Return a jitted ``(params, batch) -> (states, tags)`` for one input group.

    ``states`` are metric states by task and metric; ``tags`` are the answers ``[R, S]`` of the
    tagging tasks, whose spans are counted on the host. Both are put ``where`` every process has all
    of them.
    """
    group = model.layout.group(group_name)
    count = model.layout.shapes[group_name].max_segments

    def evaluate(params: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
        features = encode(model.network, params["shared"], group_name, batch)
        states, tags = {}, {}
        for task in group.tasks:
            head = params["heads"][task.name]
            predictions = predict(model.network, head, task.name, features, count)
            targets, weights = batch["targets"][task.name], batch["weights"][task.name]
            if isinstance(predictions, Readout):
                states[task.name] = _readout_states(model, task, predictions, targets, weights)
                continue
            values = element_losses(task, predictions, targets)
            said = answers(task, predictions)
            found: dict[str, Any] = {"loss": metrics.loss(values, weights)}
            for name in metric_names(task, model.layout.outputs[task.name].classes):
                if name == "span_f1":
                    tags[task.name] = said
                elif task.kind == "multilabel" and name == "micro_f1":
                    each = jnp.broadcast_to(weights[..., None], said.shape)
                    found[name] = metrics.micro_f1(said, targets, each)
                elif task.kind == "classification" and name == "macro_f1":
                    classes = model.layout.outputs[task.name].num_classes
                    one_hot = functools.partial(
                        jax.nn.one_hot, num_classes=classes, dtype=jnp.int32
                    )
                    found[name] = metrics.macro_f1(one_hot(said), one_hot(targets), weights)
                elif name == "micro_f1":
                    outside = _outside(model, task)
                    found[name] = metrics.micro_f1(said, targets, weights, outside=outside)
                elif name != "loss":
                    found[name] = metrics.METRICS[name](said, targets, weights)
            states[task.name] = found
        return states, tags

    return jax.jit(evaluate) if where is None else jax.jit(evaluate, out_shardings=where)


def _outside(model: Model, task: Task) -> int:
    classes = model.layout.outputs[task.name].classes
    return classes.index("O") if "O" in classes else -1


def _readout_states(
    model: Model, task: Task, readout: Readout, targets: jax.Array, weights: jax.Array
) -> dict[str, Any]:
    values = full_softmax_loss(model, readout, targets)
    states: dict[str, Any] = {
        "loss": metrics.loss(values, weights),
        "perplexity": metrics.perplexity(values, weights),
    }
    if "accuracy" in task.metrics or task.kind == "text_to_text":
        # Row by row: the logits of all rows at once are large.
        best = jax.lax.map(
            lambda queries: readout._replace(queries=queries[None]).logits()[0].argmax(-1),
            readout.queries,
        )
        states["accuracy"] = metrics.accuracy(best, targets, weights)
    return states


class Evaluator:
    """Evaluates parameters on the splits of some data; compiles once a group."""

    def __init__(
        self,
        model: Model,
        data: MultitaskData,
        place: Callable[[Any], Any] = lambda batch: batch,
        where: jax.sharding.Sharding | None = None,
    ) -> None:
        """Take the model, the data and what puts batches on devices; nothing is computed yet.

        What comes out is put ``where`` every process has all of it.
        """
        self._model, self._data, self._place = model, data, place
        self._functions = {
            group.name: make_group_evaluation(model, group.name, where)
            for group in model.layout.groups
        }

    def __call__(self, params: Any, split: str, *, full: bool = False) -> Values:
        """Metric values of every task that has this split.

        Args:
          params: the parameters.
          split: 'train', 'validation' or 'test'.
          full: add `PLAIN_WORDS` for language models over words with affixes, and
            `mtljax.training.text_likelihood` for tasks that write text.

        Returns:
          Values by task and metric; tasks without the split, or without a target in it, are left
          out.
        """
        found: Values = {}
        for group in self._model.layout.groups:
            if split not in self._data.splits(group.name):
                continue
            batches = self._data.evaluation_batches(group.name, split)
            states = self._pass(params, group.name, batches)
            found |= _values(states)
            if not full:
                continue
            for task in group.tasks:
                if task.name in states and KINDS[task.kind].writes:
                    found[task.name] |= text_likelihood(task, self._data, split, states[task.name])
            models = [task.name for task in group.tasks if task.kind == "language_model"]
            if models and self._model.layout.affix_buckets:
                batches = self._data.evaluation_batches(group.name, split)
                plain = self._pass(params, group.name, map(_hide_affixes, batches))
                for name in plain.keys() & set(models):
                    found[name][PLAIN_WORDS] = _values(plain)[name]["perplexity"]
        return {task.name: found[task.name] for task in self._model.tasks if task.name in found}

    def _pass(
        self, params: Any, group: str, batches: Iterable[dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        totals: dict[str, dict[str, Any]] = {}
        for batch in batches:
            arrays = {name: value for name, value in batch.items() if name != "example"}
            found = self._functions[group](params, self._place(arrays))
            states, tags = jax.device_get(found)
            for task, said in tags.items():
                states[task]["span_f1"] = self._spans(task, batch, said)
            for task, found in states.items():
                # Totals in float64 on the host: float32 counts are exact up to 2^24 only.
                found = jax.tree.map(lambda x: np.asarray(x, np.float64), found)
                before = totals.get(task)
                totals[task] = found if before is None else _merged(before, found)
        return {task: states for task, states in totals.items() if states["loss"].count}

    def _spans(self, task: str, batch: dict[str, Any], said: np.ndarray) -> metrics.F1:
        names = self._model.layout.outputs[task].classes
        tagging = next(one for one in self._model.tasks if one.name == task)
        scheme = span_scheme(tagging, names)
        classes = np.asarray(names)
        counted = batch["weights"][task] > 0
        lines = [
            (classes[tags[use]].tolist(), classes[truth[use]].tolist())
            for (_, tags), (_, truth), (_, use) in zip(
                unpack(batch, said),
                unpack(batch, batch["targets"][task]),
                unpack(batch, counted),
                strict=True,
            )
        ]
        answers, labels = ([line[i] for line in lines] for i in (0, 1))
        return metrics.span_f1(answers, labels, scheme)


def _values(totals: Mapping[str, Mapping[str, Any]]) -> Values:
    return {
        task: {name: float(metrics.compute(state)) for name, state in states.items()}
        for task, states in totals.items()
    }


def _merged(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    return {name: metrics.merge(before[name], state) for name, state in found.items()}


def _hide_affixes(batch: dict[str, Any]) -> dict[str, Any]:
    unknown = batch["tokens"] == _UNKNOWN
    return {**batch, "affixes": np.where(unknown[..., None], 0, batch["affixes"])}


def score(model: Model, values: Values) -> float:
    """The mean of the tasks' main metrics, by which the best checkpoint is chosen.

    Each metric is put on a scale from 0 to 1, higher is better: accuracy and F1 as they are;
    perplexity over V classes as ``1 - log(perplexity) / log(V)``, 0 for a uniform guess; an error
    or a loss ``e`` as ``1 / (1 + e)``.

    Args:
      model: the model.
      values: on validation.

    Returns:
      The mean, NaN if no task has values.
    """
    parts = []
    for task in model.tasks:
        if task.name not in values:
            continue
        output = model.layout.outputs[task.name]
        name = main_metric(task, output.classes)
        value = values[task.name][name]
        if name == "perplexity":
            value = 1.0 - np.log(value) / np.log(output.num_classes)
        elif name in LOWER_IS_BETTER:
            value = 1.0 / (1.0 + value)
        parts.append(value)
    return float(np.mean(parts)) if parts else float("nan")
