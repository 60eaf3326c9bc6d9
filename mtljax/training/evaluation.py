"""Evaluation: one pass over a split, with metrics as states that are merged over batches."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mtljax import metrics
from mtljax.data import GroupBatch, MultitaskData
from mtljax.data.batching.batches import HOST_ONLY
from mtljax.kinds import KINDS, Output
from mtljax.modules import Readout, TagScores, encode, predict, shared_and_private
from mtljax.special_tokens import OOV
from mtljax.tasks import Task, main_metric, metric_names
from mtljax.training.host_metrics import HostMetrics
from mtljax.training.model import Model
from mtljax.training.objective import element_losses, full_softmax_loss
from mtljax.training.text_likelihood import text_likelihood

Values = dict[str, dict[str, float]]
"""Metric values by task and metric."""

PLAIN_WORDS = "perplexity_plain_words"
"""Perplexity without the affixes of unknown words: comparable with models that have none."""


def predicted_targets(task: Task, predictions: jax.Array | TagScores, output: Output) -> jax.Array:
    """The predicted targets of a task, in the form of its targets.

    Args:
      task: the task; not one that writes text.
      predictions: the outputs of its head, ``[..., outputs]``, floating point.
      output: what the task predicts.

    Returns:
      Class ids ``[...]`` int32, numbers ``[...]`` float32 in units of the training split, or sets
      of classes ``[..., outputs]``.
    """
    kind = KINDS[task.kind]
    if isinstance(predictions, TagScores):
        assert kind.chosen_tags is not None
        return kind.chosen_tags(predictions, task.scheme, output.classes)
    assert kind.predicted_targets is not None
    return kind.predicted_targets(predictions, output.num_classes)


def make_group_evaluation(
    model: Model, group_name: str, where: jax.sharding.Sharding | None = None
) -> Callable[..., Any]:
    """Make the jitted evaluation of a batch of one input group.

    Args:
      model: the model.
      group_name: the name of the input group.
      where: the sharding of the results; with several processes, one under which each has them all.

    Returns:
      A function ``(params, batch) -> (states, predicted)``: metric states by task and metric, and
      the predicted targets, ``[R, S]`` or ``[R, N]``, of tasks with a metric that is computed on
      the host.
    """
    group = model.layout.group(group_name)
    count = model.layout.shapes[group_name].max_segments

    def evaluate(params: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
        shared = shared_and_private(model.network, params, group_name)
        features = encode(model.network, shared, group_name, batch)
        states, predicted = {}, {}
        for task in group.tasks:
            head = params["heads"][task.name]
            predictions = predict(model.network, head, task.name, features, count)
            targets, weights = batch["targets"][task.name], batch["weights"][task.name]
            if isinstance(predictions, Readout):
                states[task.name] = _readout_states(model, task, predictions, targets, weights)
                continue
            kind, output = KINDS[task.kind], model.layout.outputs[task.name]
            values = element_losses(task, predictions, targets, weights=weights)
            result = predicted_targets(task, predictions, output)
            task_states: dict[str, Any] = {"loss": metrics.loss(values, weights)}
            for name in _measured(task, output):
                if name in kind.host_metrics:
                    predicted[task.name] = result
                elif name != "loss":
                    task_states[name] = kind.metric_state(name, result, targets, weights, output)
            states[task.name] = task_states
        return states, predicted

    return jax.jit(evaluate) if where is None else jax.jit(evaluate, out_shardings=where)


def _measured(task: Task, output: Output) -> list[str]:
    """The metrics of a task, and those that its kind always measures, each once."""
    chosen = metric_names(task, output.classes)
    return list(dict.fromkeys((*chosen, *KINDS[task.kind].always_measured)))


def _readout_states(
    model: Model, task: Task, readout: Readout, targets: jax.Array, weights: jax.Array
) -> dict[str, Any]:
    values = full_softmax_loss(model, readout, targets)
    measured = _measured(task, model.layout.outputs[task.name])
    states: dict[str, Any] = {"loss": metrics.loss(values, weights)}
    if "perplexity" in measured:
        states["perplexity"] = metrics.perplexity(values, weights)
    if "accuracy" in measured:
        states["accuracy"] = metrics.accuracy(best_words(readout), targets, weights)
    return states


def best_words(readout: Readout) -> jax.Array:
    """The most probable word at each position, ``[R, S]``."""
    # Row by row: the logits of all rows at once are large.
    return jax.lax.map(
        lambda queries: readout._replace(queries=queries[None]).logits()[0].argmax(-1),
        readout.queries,
    )


class Evaluator:
    """Evaluates parameters on the splits of some data; compiles once a group."""

    def __init__(
        self,
        model: Model,
        data: MultitaskData,
        place: Callable[[Any], Any] = lambda batch: batch,
        where: jax.sharding.Sharding | None = None,
    ) -> None:
        """Prepare the evaluation; nothing is computed or compiled yet.

        Args:
          model: the model.
          data: the data of its tasks.
          place: puts a batch on the devices.
          where: the sharding of the results; with several processes, one under which each has them
            all.
        """
        self._model, self._data, self._place = model, data, place
        self._functions = {
            group.name: make_group_evaluation(model, group.name, where)
            for group in model.layout.groups
        }

    def __call__(self, params: Any, split: str, *, full: bool = False) -> Values:
        """The metric values of every task that has this split.

        Args:
          params: the parameters of the model.
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
            states = self._pass(params, group.name, split)
            values |= self._values(states)
            if not full:
                continue
            for task in group.tasks:
                if task.name in states and KINDS[task.kind].writes:
                    likelihood = text_likelihood(task, self._data, split, states[task.name])
                    values[task.name] |= likelihood
            language_models = {
                task.name for task in group.tasks if KINDS[task.kind].writes == "continuation"
            }
            layout = self._model.layout
            if language_models and (layout.affix_buckets or layout.characters):
                plain = self._pass(params, group.name, split, _hide_affixes)
                for name in plain.keys() & language_models:
                    values[name][PLAIN_WORDS] = self._values(plain)[name]["perplexity"]
        return {task.name: values[task.name] for task in self._model.tasks if task.name in values}

    def _values(self, totals: Mapping[str, Mapping[str, Any]]) -> Values:
        """The values of metrics, in the units of the data."""
        tasks = {task.name: task for task in self._model.tasks}
        return {
            task: {
                name: float(metrics.compute(state)) * _metric_unit(self._model, tasks[task], name)
                for name, state in states.items()
            }
            for task, states in totals.items()
        }

    def _pass(
        self,
        params: Any,
        group: str,
        split: str,
        change: Callable[[GroupBatch], GroupBatch] = lambda batch: batch,
    ) -> dict[str, dict[str, Any]]:
        tasks, outputs = self._model.layout.group(group).tasks, self._model.layout.outputs
        host_metrics = HostMetrics(tasks, outputs, self._data.examples[group][split].rows)
        totals: dict[str, dict[str, Any]] = {}
        for batch in map(change, self._data.evaluation_batches(group, split)):
            arrays = {name: value for name, value in batch.items() if name not in HOST_ONLY}
            on_device = self._functions[group](params, self._place(arrays))
            states, predicted = jax.device_get(on_device)
            for task, values in predicted.items():
                states[task] |= host_metrics.add(task, batch, values)
            for task, of_batch in states.items():
                # Totals in float64 on the host: float32 counts are exact up to 2^24 only.
                exact = jax.tree.map(lambda x: np.asarray(x, np.float64), of_batch)
                totals[task] = _merged(totals[task], exact) if task in totals else exact
        return {task: states for task, states in totals.items() if states["loss"].count}


def _metric_unit(model: Model, task: Task, name: str) -> float:
    return KINDS[task.kind].metric_unit(name, model.layout.outputs[task.name])


def _merged(before: dict[str, Any], states: dict[str, Any]) -> dict[str, Any]:
    return {name: metrics.merge(before[name], state) for name, state in states.items()}


def _hide_affixes(batch: dict[str, Any]) -> dict[str, Any]:
    unknown = batch["tokens"] == OOV
    return {**batch, "affixes": np.where(unknown[..., None], 0, batch["affixes"])}


def score(model: Model, values: Values) -> float:
    """The mean of the tasks' main metrics, by which the best checkpoint is selected.

    Each metric is mapped to a scale from 0 to 1, on which higher is better: accuracy and F1 as they
    are; perplexity over V classes as ``1 - log(perplexity) / log(V)``, 0 for a uniform guess; an
    error or a loss ``e`` as ``1 / (1 + e)``, that of numbers in units of the training split: the
    mean of its targets gives 0.5 by its squared error.

    Args:
      model: the model.
      values: metric values by task and metric, of the validation split.

    Returns:
      The mean, NaN if no task has values.
    """
    scores = []
    for task in model.tasks:
        if task.name not in values:
            continue
        output = model.layout.outputs[task.name]
        name = main_metric(task, output.classes)
        value = values[task.name][name]
        if name == "perplexity":
            value = 1.0 - np.log(value) / np.log(output.num_classes)
        elif name in KINDS[task.kind].lower_is_better:
            value = 1.0 / (1.0 + value / _metric_unit(model, task, name))
        scores.append(value)
    return float(np.mean(scores)) if scores else float("nan")
