"""Metrics as mergeable states: sums and counts, never averages of averages.

A metric turns one batch into a state, `merge` adds states, `compute` turns a state into the
figure::

    state = metrics.accuracy(logits.argmax(-1), labels, weights)
    figure = metrics.compute(metrics.merge(state, other))

- Classes: `accuracy`, `micro_f1`; sets of labels: `macro_f1`, `exact_match`; spans of tags:
  `span_f1`, from `spans`.
- Numbers: `loss`, `mean_squared_error`, `mean_absolute_error`.
- Likelihoods: `perplexity`; by words and bytes of the text, `word_perplexity` and `bits_per_byte`
  with `text_size`.
- Generated texts: `bleu`, whose tokens `bleu_tokenizer` chooses, `chrf`, `rouge_l`, `distinct_n`,
  `repetition`; `units` are what counts as words in scripts with and without blanks.
- States: `Mean`, `Perplexity`, `F1`, `MacroF1`; `METRICS` has the metrics of tasks by name.

All of it is pure and jittable except what works on texts and tags, on the host: `span_f1`, and the
metrics of generated texts.
"""

from mtljax.metrics.accuracy import accuracy as accuracy
from mtljax.metrics.calibration import Calibration as Calibration
from mtljax.metrics.calibration import calibration as calibration
from mtljax.metrics.diversity import distinct_n as distinct_n
from mtljax.metrics.diversity import repetition as repetition
from mtljax.metrics.f1 import micro_f1 as micro_f1
from mtljax.metrics.labels import exact_match as exact_match
from mtljax.metrics.labels import macro_f1 as macro_f1
from mtljax.metrics.means import loss as loss
from mtljax.metrics.means import mean_absolute_error as mean_absolute_error
from mtljax.metrics.means import mean_squared_error as mean_squared_error
from mtljax.metrics.per_text import TextSize as TextSize
from mtljax.metrics.per_text import bits_per_byte as bits_per_byte
from mtljax.metrics.per_text import text_size as text_size
from mtljax.metrics.per_text import word_perplexity as word_perplexity
from mtljax.metrics.perplexity import perplexity as perplexity
from mtljax.metrics.rouge import rouge_l as rouge_l
from mtljax.metrics.scripts import units as units
from mtljax.metrics.spans import SCHEMES as SCHEMES
from mtljax.metrics.spans import span_f1 as span_f1
from mtljax.metrics.spans import spans as spans
from mtljax.metrics.states import F1 as F1
from mtljax.metrics.states import MacroF1 as MacroF1
from mtljax.metrics.states import Mean as Mean
from mtljax.metrics.states import Perplexity as Perplexity
from mtljax.metrics.states import State as State
from mtljax.metrics.states import compute as compute
from mtljax.metrics.states import merge as merge
from mtljax.metrics.translation import bleu as bleu
from mtljax.metrics.translation import bleu_tokenizer as bleu_tokenizer
from mtljax.metrics.translation import chrf as chrf

METRICS = {
    "accuracy": accuracy,
    "exact_match": exact_match,
    "loss": loss,
    "macro_f1": macro_f1,
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "micro_f1": micro_f1,
    "perplexity": perplexity,
    "span_f1": span_f1,
}
"""From the name in a tasks file to the function that makes a state."""
