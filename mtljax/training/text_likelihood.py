"""Likelihood of the texts of a split per word and per byte, comparable across tokenizers."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from mtljax import metrics
from mtljax.data import MultitaskData
from mtljax.tasks import Task

_BLOCK = 4096  # texts that are tokenised at a time


def text_likelihood(
    task: Task, data: MultitaskData, split: str, states: Mapping[str, Any]
) -> dict[str, float]:
    """Return ``perplexity_per_word`` and ``bits_per_byte`` of the texts of a split.

    Args:
      task: a task that writes text.
      data: of the run.
      split: name of a split that the task has.
      states: metric states of the task on that split, by name, among them ``loss``: the sum of the
        negative log-likelihoods and the number of tokens.

    Returns:
      Both values by name. Empty where the loss is not that of the complete texts, each counted
      once: where samples have weights, or texts were truncated.
    """
    state = states["loss"]
    if task.weights is not None:
        return {}
    name = task.targets or task.inputs
    assert isinstance(name, str)
    texts = (row[name] for row in data.sources[task.source_name].splits[split])
    tokens, size = _count(texts, data)
    if tokens != round(float(state.count)) or not size.words:
        return {}
    return {
        "perplexity_per_word": float(metrics.compute(metrics.word_perplexity(state, size))),
        "bits_per_byte": float(metrics.compute(metrics.bits_per_byte(state, size))),
    }


def _count(texts: Iterable[Any], data: MultitaskData) -> tuple[int, metrics.TextSize]:
    """Count the tokens that are predicted for these texts, ends included, and words and bytes."""
    tokens, words, size = 0, 0, 0
    present = (text for text in texts if text is not None)
    while block := list(itertools.islice(present, _BLOCK)):
        # Each text begins with <s>, which is not predicted, and ends with </s>, which is.
        tokens += len(data.tokenizer.encode(block).tokens)
        more = metrics.text_size(_joined(text) for text in block)
        words, size = words + more.words, size + more.bytes
    return tokens, metrics.TextSize(words, size)


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else " ".join(text)
