"""Pure losses: one value an element, no reduction, any leading batch shape, float32 or wider.

- Classes: `softmax`, `sigmoid`, `hinge`, `multiclass_hinge`.
- Tags of texts, of which each depends on the one before it: `crf`, with `crf_marginals` and
  `crf_log_partition`, and `viterbi` for the best tags, also of those that a scheme allows
  (`Transitions`).
- Numbers: `squared`, `absolute`, `huber`.
- Many classes, from the features of the last layer: `linear_cross_entropy`, exact and without the
  logits in memory; `sampled_softmax`, whose negatives `draw_negatives` draws from a `Proposal`
  (`log_uniform_proposal`, `unigram_proposal`).
- Pairs of answers, of which one is preferred: `preference`, of the sums that
  `answer_log_probabilities` makes of the losses of tokens.
- `weighted_mean` is the one reduction: its weights stand for padding, missing targets and the
  weights of samples.
"""

from mtljax.losses.absolute import absolute as absolute
from mtljax.losses.chains import Transitions as Transitions
from mtljax.losses.crf import crf as crf
from mtljax.losses.crf import crf_log_partition as crf_log_partition
from mtljax.losses.crf import crf_marginals as crf_marginals
from mtljax.losses.hinge import hinge as hinge
from mtljax.losses.hinge import multiclass_hinge as multiclass_hinge
from mtljax.losses.huber import huber as huber
from mtljax.losses.linear_cross_entropy import linear_cross_entropy as linear_cross_entropy
from mtljax.losses.preference import answer_log_probabilities as answer_log_probabilities
from mtljax.losses.preference import preference as preference
from mtljax.losses.proposal import Proposal as Proposal
from mtljax.losses.proposal import draw_negatives as draw_negatives
from mtljax.losses.proposal import log_uniform_proposal as log_uniform_proposal
from mtljax.losses.proposal import unigram_proposal as unigram_proposal
from mtljax.losses.sampled_softmax import sampled_softmax as sampled_softmax
from mtljax.losses.sigmoid import sigmoid as sigmoid
from mtljax.losses.softmax import softmax as softmax
from mtljax.losses.squared import squared as squared
from mtljax.losses.viterbi import viterbi as viterbi
from mtljax.losses.weighted_mean import weighted_mean as weighted_mean
