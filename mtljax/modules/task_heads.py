"""From the settings of a model to the head of one task."""

from typing import Any, NamedTuple

from mtljax.modules.config import (
    Attention,
    DecoderConfig,
    EncoderConfig,
    HeadsConfig,
    output_width,
)
from mtljax.modules.decoder import DecoderHead
from mtljax.modules.heads import LanguageModelHead, SegmentHead, TokenHead


class HeadSettings(NamedTuple):
    """What the head of a task depends on.

    Attributes:
      task: name of the task.
      outputs: number of predictions: classes, 1 for a single logit or a number.
      encoder: shape of the encoder.
      heads: shape of the heads.
      decoder: shape of the decoders.
      attention: what positions of its inputs see of each other.
      sees_following: whether the encoder has read the whole text at each position.
      dtype: of the decoders' computation.
      loss: name of the loss that the task is trained with.
      constrained: whether tags are the best sequence that their scheme allows.
    """

    task: str
    outputs: int
    encoder: EncoderConfig
    heads: HeadsConfig
    decoder: DecoderConfig
    attention: Attention
    sees_following: bool
    dtype: Any
    loss: str = ""
    constrained: bool = False


def segment_head(settings: HeadSettings) -> SegmentHead:
    """A head with one prediction a text."""
    heads = settings.heads
    return SegmentHead(settings.outputs, heads.pooling, heads.hidden, heads.dropout)


def token_head(settings: HeadSettings) -> TokenHead:
    """A head with one prediction a position, which looks ahead where the encoder does not.

    Tags that are chosen text by text are predicted as `mtljax.modules.TagScores`.
    """
    heads = settings.heads
    lookahead = 0 if settings.sees_following else heads.lookahead
    field = settings.loss == "crf"
    return TokenHead(
        settings.outputs,
        lookahead,
        heads.tag_hidden,
        heads.tag_dropout,
        chained=field or settings.constrained,
        transitions=field,
    )


def language_model_head(settings: HeadSettings) -> LanguageModelHead:
    """A head that predicts the next word from what the encoder has read.

    Raises:
      ValueError: if the encoder has read that word.
    """
    if settings.attention not in ("causal", "prefix"):
        raise ValueError(f"task {settings.task!r} is in a group that is not causal")
    return LanguageModelHead(settings.outputs)


def decoder_head(settings: HeadSettings) -> DecoderHead:
    """A head that writes with layers of its own."""
    return DecoderHead(
        settings.outputs,
        output_width(settings.encoder),
        **vars(settings.decoder),
        dtype=settings.dtype,
    )
