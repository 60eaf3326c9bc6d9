"""Pure losses: per-element, unreduced, any leading batch shape, float32 accumulation.

`weighted_mean` is the one reduction; its weights carry padding, missing targets and per-sample
weights alike.
"""

from mtljax.losses.absolute import absolute as absolute
from mtljax.losses.hinge import hinge as hinge
from mtljax.losses.hinge import multiclass_hinge as multiclass_hinge
from mtljax.losses.huber import huber as huber
from mtljax.losses.linear_cross_entropy import linear_cross_entropy as linear_cross_entropy
from mtljax.losses.proposal import Proposal as Proposal
from mtljax.losses.proposal import draw_negatives as draw_negatives
from mtljax.losses.proposal import log_uniform_proposal as log_uniform_proposal
from mtljax.losses.proposal import unigram_proposal as unigram_proposal
from mtljax.losses.sampled_softmax import sampled_softmax as sampled_softmax
from mtljax.losses.sigmoid import sigmoid as sigmoid
from mtljax.losses.softmax import softmax as softmax
from mtljax.losses.squared import squared as squared
from mtljax.losses.weighted_mean import weighted_mean as weighted_mean
