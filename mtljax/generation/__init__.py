"""Decoding: from next-token logits to text, as pure functions of arrays.

Knows neither models nor tokenizers: a model is a function of token ids to next-token logits.
"""

from mtljax.generation.loop import Decoded as Decoded
from mtljax.generation.loop import NextLogits as NextLogits
from mtljax.generation.loop import decode as decode
from mtljax.generation.loop import padded_length as padded_length
from mtljax.generation.sampling import filter_logits as filter_logits
from mtljax.generation.sampling import sample as sample
