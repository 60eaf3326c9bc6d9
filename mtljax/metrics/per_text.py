"""Likelihoods per word and per byte of the text itself, whatever its tokens are."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from mtljax.metrics.scripts import units
from mtljax.metrics.states import Mean, Perplexity


class TextSize(NamedTuple):
    """The size of some texts.

    Attributes:
      words: runs of characters between spaces; each letter in scripts without blanks.
      bytes: of its UTF-8.
    """

    words: int
    bytes: int


def text_size(texts: Iterable[str]) -> TextSize:
    """Counts the words and bytes of some texts.

    Args:
      texts: any texts.

    Returns:
      Their `TextSize`, summed.

    >>> text_size(["a naïve film", ""])
    TextSize(words=3, bytes=13)
    """
    words = size = 0
    for text in texts:
        words += len(units(text))
        size += len(text.encode("utf-8", "surrogatepass"))
    return TextSize(words, size)


def word_perplexity(state: Mean | Perplexity, size: TextSize) -> Perplexity:
    """Returns the perplexity per word, from the likelihood of all tokens.

    Words are those of the text itself, so that models with different tokens can be compared. The
    end of a text is part of its likelihood, but no word. A token that stands for all unknown words
    says too little of the text, and makes the figure too good.

    Args:
      state: the negative log likelihoods of all tokens of some texts, in nats.
      size: of these texts.

    Returns:
      A `Perplexity` state.

    >>> from mtljax.metrics import compute
    >>> compute(word_perplexity(Perplexity(math.log(8.0), 1), TextSize(3, 11)))
    Array(2., dtype=float32, weak_type=True)
    """
    return Perplexity(state.total, size.words)


def bits_per_byte(state: Mean | Perplexity, size: TextSize) -> Mean:
    """Returns the bits per byte of the text; the caveats of `word_perplexity` hold.

    Args:
      state: the negative log likelihoods of all tokens of some texts, in nats.
      size: of these texts.

    Returns:
      A `Mean` state, in bits.

    >>> from mtljax.metrics import compute
    >>> compute(bits_per_byte(Perplexity(math.log(8.0), 1), TextSize(1, 3)))
    Array(1., dtype=float32, weak_type=True)
    """
    return Mean(state.total / math.log(2), size.bytes)  # pyright: ignore[reportOperatorIssue]
