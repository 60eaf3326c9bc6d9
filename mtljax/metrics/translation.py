"""BLEU and chrF of a set of texts, as sacrebleu defines them, on the host."""

from collections.abc import Sequence

from mtljax.metrics.rouge import check_references


def bleu(
    texts: Sequence[str], references: Sequence[Sequence[str]], *, lowercase: bool = False
) -> float:
    """Returns corpus BLEU (Papineni et al. 2002; Post 2018, arXiv 1804.08771).

    Args:
      texts: the generated texts.
      references: for each text the references that it is compared with, one or more.
      lowercase: ignores case.

    Returns:
      A number from 0 to 100; with sacrebleu's tokens ``13a`` and its exponential smoothing.

    Raises:
      ValueError: there is no text, or one has no reference.

    >>> round(bleu(["the cat sat on a mat"], [["the cat sat on the mat", "a cat sat"]]), 1)
    56.2
    """
    from sacrebleu.metrics.bleu import BLEU

    return _score(BLEU(lowercase=lowercase, force=True), texts, references)


def chrf(
    texts: Sequence[str], references: Sequence[Sequence[str]], *, lowercase: bool = False
) -> float:
    """Returns corpus chrF2, the F-score of n-grams of up to six characters (Popović 2015).

    Args:
      texts: the generated texts.
      references: for each text the references that it is compared with, one or more.
      lowercase: ignores case.

    Returns:
      A number from 0 to 100.

    Raises:
      ValueError: there is no text, or one has no reference.

    >>> chrf(["a cat"], [["a cat", "the dog"]])
    100.0
    """
    from sacrebleu.metrics.chrf import CHRF

    return _score(CHRF(lowercase=lowercase), texts, references)


def _score(metric, texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    check_references(texts, references)
    if not texts:
        raise ValueError("texts: there are none")
    # As many streams as the most references that a text has; None where it has fewer.
    most = max(map(len, references))
    streams = [
        [of_text[i] if i < len(of_text) else None for of_text in references] for i in range(most)
    ]
    return float(metric.corpus_score(list(texts), streams).score)
