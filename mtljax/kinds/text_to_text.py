"""Text to text: a text that answers another one, word by word."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mtljax.kinds.kind import Kind
from mtljax.kinds.output import Output
from mtljax.kinds.target_rows import TargetRows

if TYPE_CHECKING:
    from mtljax.modules import DecoderHead, HeadSettings, LanguageModelHead


def _encode_targets(rows: TargetRows) -> tuple[np.ndarray, np.ndarray]:
    present = np.asarray([row[rows.target_name] is not None for row in rows.rows], bool)
    weights = np.where(present, rows.sample_weights(), 0)
    # From the mark before the target on, a position predicts what is to be learned.
    marks = np.cumsum(rows.tokens == rows.end_id)
    inside = marks > np.repeat(marks[rows.starts[:-1]], rows.lengths)
    targets = np.where(inside, rows.next_words(), 0)
    weights = np.where(inside, np.repeat(weights, rows.lengths), 0)
    return targets.astype(np.int32), weights.astype(np.float32)


def _head(settings: "HeadSettings") -> "DecoderHead | LanguageModelHead":
    from mtljax.modules import decoder_head, language_model_head

    # Where source and answer are encoded separately, the encoder cannot write the answer itself.
    make = decoder_head if settings.attention == "separate" else language_model_head
    return make(settings)


def _answer(text: str, output: Output, words: Sequence[str]) -> dict[str, Any]:
    return {"text": text}


TEXT_TO_TEXT = Kind(
    losses=("softmax",),
    metrics=("perplexity", "accuracy", "loss"),
    lower_is_better=frozenset({"perplexity", "loss"}),
    writes="answer",
    target_features=("text", "tokens"),
    attention=("causal", "prefix", "separate"),
    per_token=True,
    encode_targets=_encode_targets,
    head=_head,
    always_measured=("perplexity", "accuracy"),
    answer=_answer,
)
"""A text that answers the source; source and answer are read one after another."""
