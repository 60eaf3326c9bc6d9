"""Evaluation: one pass over a split, metrics as mergeable states."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from mtljax import metrics
from mtljax.data import MultitaskData, unpack
from mtljax.kinds import KINDS, Output
from mtljax.modules import Readout, encode, predict
from mtljax.special_tokens import OOV
from mtljax.tasks import Task, main_metric, metric_names
from mtljax.training.model import Model
from mtljax.training.objective import element_losses, full_softmax_loss
from mtljax.training.text_likelihood import text_likelihood

Values = dict[str, dict[str, float]]
"""Metric values by task and metric."""

PLAIN_WORDS = "perplexity_plain_words"
"""Perplexity where unknown words are all read as one: comparable with models of whole words."""


def predicted_targets(task: Task, predictions: jax.Array) -> jax.Array:
    """What a task's predictions say, as its targets are.

    Args:
      task: the task; none that writes text.
      predictions: ``[..., outputs]``.

    Returns:
      Class ids ``[...]`` int32, numbers ``[...]`` float32, or sets of classes ``[..., outputs]``.
    """
    function = KINDS[task.kind].predicted_targets
    assert function is not None
    return function(predictions)


def make_group_evaluation(
    model: Model, group_name: str, where: jax.sharding.Sharding | None = None
) -> Callable[..., Any]:
    """Return a jitted ``(params, batch) -> (states, predicted)`` for one input group.

    ``states`` are metric states by task and metric; ``predicted`` are the predicted targets, ``[R,
    S]`` or ``[R, N]``, of the tasks with a metric that is counted on the host. Both are put
    ``where`` every process has all of them.
    """
    group = model.layout.group(group_name)
    count = model.layout.shapes[group_name].max_segments

    def evaluate(params: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
        features = encode(model.network, params["shared"], group_name, batch)
        states, predicted = {}, {}
        for task in group.tasks:
            head = params["heads"][task.name]
            predictions = predict(model.network, head, task.name, features, count)
            targets, weights = batch["targets"][task.name], batch["weights"][task.name]
            if isinstance(predictions, Readout):
                states[task.name] = _readout_states(model, task, predictions, targets, weights)
                continue
            kind, output = KINDS[task.kind], model.layout.outputs[task.name]
            values = element_losses(task, predictions, targets)
            said = predicted_targets(task, predictions)
            of_task: dict[str, Any] = {"loss": metrics.loss(values, weights)}
            for name in _measured(task, output):
                if name in kind.host_metrics:
                    predicted[task.name] = said
                elif name != "loss":
                    of_task[name] = kind.metric_state(name, said, targets, weights, output)
            states[task.name] = of_task
        return states, predicted

    return jax.jit(evaluate) if where is None else jax.jit(evaluate, out_shardings=where)


def _measured(task: Task, output: Output) -> list[str]:
    """The metrics of a task, and those that its kind always measures, each once."""
    named = metric_names(task, output.classes)
    return list(dict.fromkeys((*named, *KINDS[task.kind].always_measured)))


def _readout_states(
    model: Model, task: Task, readout: Readout, targets: jax.Array, weights: jax.Array
) -> dict[str, Any]:
    values = full_softmax_loss(model, readout, targets)
    measured = _measured(task, model.layout.outputs[task.name])
    states: dict[str, Any] = {"loss": metrics.loss(values, weights)}
    if "perplexity" in measured:
        states["perplexity"] = metrics.perplexity(values, weights)
    if "accuracy" in measured:
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
        values: Values = {}
        for group in self._model.layout.groups:
            if split not in self._data.splits(group.name):
                continue
            batches = self._data.evaluation_batches(group.name, split)
            states = self._pass(params, group.name, batches)
            values |= _values(states)
            if not full:
                continue
            for task in group.tasks:
                if task.name in states and KINDS[task.kind].writes:
                    likelihood = text_likelihood(task, self._data, split, states[task.name])
                    values[task.name] |= likelihood
            models = [t.name for t in group.tasks if KINDS[t.kind].writes == "continuation"]
            if models and self._model.layout.affix_buckets:
                batches = self._data.evaluation_batches(group.name, split)
                plain = self._pass(params, group.name, map(_hide_affixes, batches))
                for name in plain.keys() & set(models):
                    values[name][PLAIN_WORDS] = _values(plain)[name]["perplexity"]
        return {task.name: values[task.name] for task in self._model.tasks if task.name in values}

    def _pass(
        self, params: Any, group: str, batches: Iterable[dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        totals: dict[str, dict[str, Any]] = {}
        for batch in batches:
            arrays = {name: value for name, value in batch.items() if name != "example"}
            on_device = self._functions[group](params, self._place(arrays))
            states, predicted = jax.device_get(on_device)
            for task, values in predicted.items():
                states[task] |= self._host_states(task, batch, values)
            for task, of_batch in states.items():
                # Totals in float64 on the host: float32 counts are exact up to 2^24 only.
                exact = jax.tree.map(lambda x: np.asarray(x, np.float64), of_batch)
                totals[task] = _merged(totals[task], exact) if task in totals else exact
        return {task: states for task, states in totals.items() if states["loss"].count}

    def _host_states(
        self, name: str, batch: dict[str, Any], predicted: np.ndarray
    ) -> dict[str, Any]:
        """Metrics that are counted text by text, over the targets that each text has."""
        task = next(task for task in self._model.tasks if task.name == name)
        output = self._model.layout.outputs[name]
        counted = [used for _, used in unpack(batch, batch["weights"][name] > 0)]

        def by_text(values: np.ndarray) -> list[np.ndarray]:
            texts = (of_text for _, of_text in unpack(batch, values))
            return [of_text[used] for of_text, used in zip(texts, counted, strict=True)]

        arguments = by_text(predicted), by_text(batch["targets"][name])
        return {
            metric: count(*arguments, task.scheme, output.classes)
            for metric, count in KINDS[task.kind].host_metrics.items()
            if metric in metric_names(task, output.classes)
        }


def _values(totals: Mapping[str, Mapping[str, Any]]) -> Values:
    return {
        task: {name: float(metrics.compute(state)) for name, state in states.items()}
        for task, states in totals.items()
    }


def _merged(before: dict[str, Any], states: dict[str, Any]) -> dict[str, Any]:
    return {name: metrics.merge(before[name], state) for name, state in states.items()}


def _hide_affixes(batch: dict[str, Any]) -> dict[str, Any]:
    unknown = batch["tokens"] == OOV
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
        elif name in KINDS[task.kind].lower_is_better:
            value = 1.0 / (1.0 + value)
        parts.append(value)
    return float(np.mean(parts)) if parts else float("nan")
