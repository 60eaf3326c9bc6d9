"""The main metric of every task of a run, text by text."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mtljax import metrics
from mtljax.data import GroupBatch, MultitaskData
from mtljax.data.batching.batches import HOST_ONLY
from mtljax.inference import Run
from mtljax.inference.run_data import run_data
from mtljax.kinds import KINDS, Output
from mtljax.metrics import State
from mtljax.modules import Readout, encode, predict, shared_and_private
from mtljax.tasks import Task, main_metric
from mtljax.training.evaluation import best_words, predicted_targets
from mtljax.training.host_metrics import HostMetrics
from mtljax.training.model import Model
from mtljax.training.objective import element_losses, full_softmax_loss
from mtljax.training.persistence.run_directory import RunFiles


class TextStates(NamedTuple):
    """A metric of one task on the texts of a split, before they are summed.

    Attributes:
      metric: its name.
      lower_is_better: whether a smaller value is better.
      unit: what 1 of the metric is in the units of the data.
      rows: ``[n]``, the rows of the split that have a target, rising.
      states: the state of each text, arrays ``[n, ...]`` in float64; their sum over texts is that
        of the split.
    """

    metric: str
    lower_is_better: bool
    unit: float
    rows: np.ndarray
    states: State

    def value(self) -> float:
        """The metric of the split, as `mtljax.inference.Run.evaluate` measures it."""
        total = jax.tree.map(lambda leaf: leaf.sum(0), self.states)
        return float(metrics.compute(total)) * self.unit


def text_states(
    run: Run,
    split: str = "test",
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> dict[str, TextStates]:
    """Measures the main metric of every task of a run, text by text.

    Args:
      run: from `mtljax.load_run`.
      split: 'train', 'validation' or 'test'.
      data_dir: directory of the data sets in TFDS format.
      cache_dir: directory of the cache of tokenised data; None for no cache.

    Returns:
      By task; tasks without a target in the split are left out.

    Raises:
      UserError: if the data is missing or has changed.
    """
    files = RunFiles(run.config, run.tasks, run.tokenizer, run.layout)
    data = run_data(run.directory, files, data_dir, cache_dir)
    return states_of_model(run.model, run.params, data, split)


def states_of_model(
    model: Model, params: Any, data: MultitaskData, split: str
) -> dict[str, TextStates]:
    """Measures the main metric of every task of a model, text by text.

    Args:
      model: the model.
      params: its parameters.
      data: of its tasks.
      split: 'train', 'validation' or 'test'.

    Returns:
      By task; tasks without a target in the split are left out.
    """
    found: dict[str, TextStates] = {}
    for group in model.layout.groups:
        if split in data.splits(group.name):
            found |= _of_group(model, params, data, group.name, split)
    return {task.name: found[task.name] for task in model.tasks if task.name in found}


def _of_group(
    model: Model, params: Any, data: MultitaskData, name: str, split: str
) -> dict[str, TextStates]:
    outputs = model.layout.outputs
    tasks = model.layout.group(name).tasks
    chosen = {task.name: main_metric(task, outputs[task.name].classes) for task in tasks}
    function = jax.jit(_element_states(model, name, chosen))
    examples = data.examples[name][split]
    host = HostMetrics(tasks, outputs, examples.rows)
    sums = {task.name: _Sums(int(examples.rows.max(initial=-1)) + 1) for task in tasks}
    for batch in data.evaluation_batches(name, split):
        arrays = {key: value for key, value in batch.items() if key not in HOST_ONLY}
        states, predicted = jax.device_get(function(params, arrays))
        for task in tasks:
            of_task = sums[task.name]
            rows = _rows_of(batch, batch["weights"][task.name])
            of_task.count(rows[batch["weights"][task.name] > 0])
            if task.name not in predicted:
                of_task.add(rows, states[task.name])
                continue
            measure = KINDS[task.kind].host_metrics[chosen[task.name]]
            for row, *texts in host.completed(task.name, batch, predicted[task.name]):
                answers, targets = ([text] for text in texts)
                state = measure(answers, targets, task.scheme, outputs[task.name].classes)
                of_task.add(np.array([row]), jax.tree.map(lambda x: np.array([x]), state))
    return {
        task.name: TextStates(
            chosen[task.name],
            chosen[task.name] in {"perplexity", *KINDS[task.kind].lower_is_better},
            KINDS[task.kind].metric_unit(chosen[task.name], outputs[task.name]),
            *sums[task.name].of_rows(),
        )
        for task in tasks
        if sums[task.name].counted.any()
    }


class _Sums:
    """Sums of states over each row of a split."""

    def __init__(self, size: int) -> None:
        self.counted = np.zeros(size, bool)
        self._states: Any = None

    def count(self, rows: np.ndarray) -> None:
        """Take note that these rows have a target."""
        self.counted[rows] = True

    def add(self, rows: np.ndarray, states: Any) -> None:
        """Add states ``[*rows.shape, ...]`` to those of their rows, -1 for none."""
        real = rows >= 0
        if self._states is None:
            self._states = jax.tree.map(
                lambda x: np.zeros((self.counted.size, *x.shape[rows.ndim :])), states
            )
        for total, of_batch in zip(*map(jax.tree.leaves, (self._states, states)), strict=True):
            np.add.at(total, rows[real], of_batch[real])

    def of_rows(self) -> tuple[np.ndarray, State]:
        """The rows that have a target, and their states."""
        rows = np.flatnonzero(self.counted)
        return rows, jax.tree.map(lambda total: total[rows], self._states)


def _rows_of(batch: GroupBatch, weights: np.ndarray) -> np.ndarray:
    """The row of the split of each target, -1 for padding."""
    examples, segments = batch["example"], batch["segments"]
    if weights.shape != segments.shape:
        return examples
    of_position = np.take_along_axis(examples, np.maximum(segments - 1, 0), axis=1)
    return np.where(segments > 0, of_position, -1)


def _element_states(model: Model, name: str, chosen: Mapping[str, str]) -> Callable[..., Any]:
    """From parameters and a batch to a state for each target, or to what the host measures."""
    tasks = model.layout.group(name).tasks
    texts = model.layout.shapes[name].max_segments

    def evaluate(params: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
        shared = shared_and_private(model.network, params, name)
        features = encode(model.network, shared, name, batch)
        states, predicted = {}, {}
        for task in tasks:
            head, metric = params["heads"][task.name], chosen[task.name]
            predictions = predict(model.network, head, task.name, features, texts)
            targets, weights = batch["targets"][task.name], batch["weights"][task.name]
            output = model.layout.outputs[task.name]
            measured: tuple[Any, ...]
            if isinstance(predictions, Readout):
                measured = _readout_metric(model, metric, predictions, targets)
            elif metric == "loss":
                values = element_losses(task, predictions, targets, weights=weights)
                measured = (metrics.loss, values)
            else:
                result = predicted_targets(task, predictions, output)
                if metric in KINDS[task.kind].host_metrics:
                    predicted[task.name] = result
                    continue
                state = functools.partial(_metric_state, task, metric, output)
                measured = (state, result, targets)
            states[task.name] = jax.vmap(jax.vmap(measured[0]))(*measured[1:], weights)
        return states, predicted

    return evaluate


def _metric_state(
    task: Task,
    metric: str,
    output: Output,
    result: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
) -> State:
    return KINDS[task.kind].metric_state(metric, result, targets, weights, output)


def _readout_metric(
    model: Model, metric: str, readout: Readout, targets: jax.Array
) -> tuple[Any, ...]:
    """A metric of words, and what it reads besides the weights."""
    if metric == "accuracy":
        return metrics.accuracy, best_words(readout), targets
    state = metrics.perplexity if metric == "perplexity" else metrics.loss
    return state, full_softmax_loss(model, readout, targets)
