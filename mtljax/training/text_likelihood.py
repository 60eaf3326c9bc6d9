"""Likelihoods of a split by the words and bytes of its texts."""

from collections.abc import Iterable, Mapping
from typing import Any

from mtljax import metrics
from mtljax.data import MultitaskData
from mtljax.tasks import Task

_BLOCK = 4096  # texts that are tokenised at a time


def per_text(
    task: Task, data: MultitaskData, split: str, states: Mapping[str, Any]
) -> dict[str, float]:
    """``perplexity_per_word`` and ``bits_per_byte`` of the texts of a split.

    Args:
      task: a task that writes text.
      data: of the run.
      split: name of a split that it has.
      states: what the task was measured with, among them ``loss``.

    Returns:
      Nothing where the likelihood is not that of the whole texts, each once: where samples have
      weights, or some texts were cut off.
    """
    state = states["loss"]
    if task.weights is not None:
        return {}
    name = task.targets or task.inputs
    assert isinstance(name, str)
    texts = (row[name] for row in data.sources[task.source_name].splits[split])
    tokens, size = _counted(texts, data)
    if tokens != round(float(state.count)) or not size.words:
        return {}
    return {
        "perplexity_per_word": float(metrics.compute(metrics.word_perplexity(state, size))),
        "bits_per_byte": float(metrics.compute(metrics.bits_per_byte(state, size))),
    }


def _counted(texts: Iterable[Any], data: MultitaskData) -> tuple[int, metrics.TextSize]:
    """Tokens that predict these texts and their ends, and how much text there is."""
    tokens, size, block = 0, metrics.TextSize(0, 0), []

    def count() -> None:
        nonlocal tokens, size
        # Each begins with <s>, which is not predicted, and ends with </s>, which is.
        tokens += len(data.tokenizer.encode(block).tokens) if block else 0
        more = metrics.text_size(one if isinstance(one, str) else " ".join(one) for one in block)
        size = metrics.TextSize(size.words + more.words, size.bytes + more.bytes)
        block.clear()

    for text in texts:
        if text is not None:
            block.append(text)
        if len(block) == _BLOCK:
            count()
    count()
    return tokens, size
