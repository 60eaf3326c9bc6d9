"""Kinds of task, each with its behaviour in one file: targets, head, losses, metrics, answers."""

from mtljax.kinds.classification import CLASSIFICATION
from mtljax.kinds.kind import Attention as Attention
from mtljax.kinds.kind import FeatureKind as FeatureKind
from mtljax.kinds.kind import Kind as Kind
from mtljax.kinds.kind import LossSettings as LossSettings
from mtljax.kinds.kind import chosen_loss as chosen_loss
from mtljax.kinds.language_model import LANGUAGE_MODEL
from mtljax.kinds.multilabel import MULTILABEL
from mtljax.kinds.output import Output as Output
from mtljax.kinds.regression import REGRESSION
from mtljax.kinds.tagging import TAGGING
from mtljax.kinds.target_rows import TargetRows as TargetRows
from mtljax.kinds.text_to_text import TEXT_TO_TEXT

KINDS: dict[str, Kind] = {
    "classification": CLASSIFICATION,
    "multilabel": MULTILABEL,
    "tagging": TAGGING,
    "language_model": LANGUAGE_MODEL,
    "regression": REGRESSION,
    "text_to_text": TEXT_TO_TEXT,
}
"""Every kind by the name that a tasks file gives it."""
