"""Likelihood of the texts of a split per word and per byte, comparable across tokenizers."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from mtljax import metrics
from mtljax.data import MultitaskData
from mtljax.tasks import Task

_BLOCK = 4096
"""Texts that are tokenized at a time."""


def text_likelihood(
    task: Task, data: MultitaskData, split: str, states: Mapping[str, Any]
) -> dict[str, float]:
    """Return ``perplexity_per_word`` and ``bits_per_byte`` of the texts of a split.

    Args:
      task: a task that writes text.
      data: the data of the run.
      split: the name of a split that the task has.
      states: the metric states of the task on that split, by name, with ``loss``: the sum of the
        negative log-likelihoods, in nats, and the number of tokens.

    Returns:
      Both values by name. Empty if the loss is not that of all texts in full, each counted once:
      if samples have weights, or texts were truncated.
    """
    state = states["loss"]
    if task.weights is not None:
        return {}
    name = task.targets or task.inputs
    assert isinstance(name, str)
    texts = (row[name] for row in data.sources[task.source_name].splits[split])
    tokens, size = _count(texts, data)
    # Texts that were truncated have fewer tokens in the loss than they have in the source.
    if tokens != round(float(state.count)) or not size.words:
        return {}
    return {
        "perplexity_per_word": float(metrics.compute(metrics.word_perplexity(state, size))),
        "bits_per_byte": float(metrics.compute(metrics.bits_per_byte(state, size))),
    }


def _count(texts: Iterable[Any], data: MultitaskData) -> tuple[int, metrics.TextSize]:
    """Count the predicted tokens of texts, their ends included, and their words and bytes."""
    tokens, words, size = 0, 0, 0
    present = (text for text in texts if text is not None)
    while block := list(itertools.islice(present, _BLOCK)):
        # Each text begins with <s>, which is not predicted, and ends with </s>, which is.
        tokens += len(data.tokenizer.encode(block).tokens)
        block_size = metrics.text_size(_joined(text) for text in block)
        words, size = words + block_size.words, size + block_size.bytes
    return tokens, metrics.TextSize(words, size)


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else " ".join(text)
