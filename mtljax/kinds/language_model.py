"""Language models: the next word of a text, each from those before it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mtljax.kinds.kind import Kind
from mtljax.kinds.output import Output
from mtljax.kinds.target_rows import TargetRows

if TYPE_CHECKING:
    from mtljax.modules import HeadSettings, LanguageModelHead


def _encode_targets(rows: TargetRows) -> tuple[np.ndarray, np.ndarray]:
    weights = np.repeat(rows.sample_weights(), rows.lengths)
    return rows.next_words(), weights


def _head(settings: "HeadSettings") -> "LanguageModelHead":
    from mtljax.modules import language_model_head

    return language_model_head(settings)


def _answer(text: str, output: Output, words: Sequence[str]) -> dict[str, Any]:
    return {"continuation": text}


LANGUAGE_MODEL = Kind(
    losses=("softmax",),
    metrics=("perplexity", "accuracy", "loss"),
    lower_is_better=frozenset({"perplexity", "loss"}),
    needs_targets=False,
    writes="continuation",
    attention=("causal",),
    per_token=True,
    encode_targets=_encode_targets,
    head=_head,
    always_measured=("perplexity",),
    answer=_answer,
)
"""The next word at each position of a text; it needs no targets but the text."""
