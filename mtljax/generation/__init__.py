"""Decoding: from next-token logits to text, as pure functions of arrays.

A model is a `Decodable`, two functions that read a prompt and one more token; texts are rows of
class indices. Nothing here depends on the modules or tokenizers of this package.
"""

from mtljax.generation.beams import Beams as Beams
from mtljax.generation.beams import beam_search as beam_search
from mtljax.generation.decodable import Decodable as Decodable
from mtljax.generation.decodable import recomputing as recomputing
from mtljax.generation.loop import Decoded as Decoded
from mtljax.generation.loop import Rows as Rows
from mtljax.generation.loop import advance as advance
from mtljax.generation.loop import begin as begin
from mtljax.generation.loop import decode as decode
from mtljax.generation.processors import forbid as forbid
from mtljax.generation.processors import forbid_repeated_ngrams as forbid_repeated_ngrams
from mtljax.generation.processors import keep_min_p as keep_min_p
from mtljax.generation.processors import keep_top_k as keep_top_k
from mtljax.generation.processors import keep_top_p as keep_top_p
from mtljax.generation.processors import penalize_repetition as penalize_repetition
from mtljax.generation.processors import scale as scale
from mtljax.generation.sampling import GREEDY as GREEDY
from mtljax.generation.sampling import Sampling as Sampling
from mtljax.generation.sampling import filter_logits as filter_logits
from mtljax.generation.sampling import sample as sample
