"""BLEU and chrF of a set of texts, as sacrebleu defines them, on the host."""

import importlib.util
from collections.abc import Sequence

from mtljax.metrics.rouge import check_references
from mtljax.metrics.scripts import unspaced_script


def bleu(
    texts: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    lowercase: bool = False,
    tokenize: str | None = None,
) -> float:
    """Returns corpus BLEU (Papineni et al. 2002; Post 2018, arXiv 1804.08771).

    Args:
      texts: the generated texts.
      references: for each text the references that it is compared with, one or more.
      lowercase: ignores case.
      tokenize: sacrebleu's tokenizer; None for that of `bleu_tokenizer`.

    Returns:
      A number from 0 to 100; with sacrebleu's exponential smoothing.

    Raises:
      ValueError: there is no text, or one has no reference, or there is no such tokenizer.

    >>> round(bleu(["the cat sat on a mat"], [["the cat sat on the mat", "a cat sat"]]), 1)
    56.2
    """
    from sacrebleu.metrics.bleu import BLEU

    if tokenize is None:
        tokenize = bleu_tokenizer(references)[0]
    if tokenize not in BLEU.TOKENIZERS:
        raise ValueError(f"tokenize: {tokenize!r} is none of {', '.join(BLEU.TOKENIZERS)}")
    return _score(BLEU(lowercase=lowercase, force=True, tokenize=tokenize), texts, references)


def bleu_tokenizer(references: Sequence[Sequence[str]]) -> tuple[str, str | None]:
    """Chooses the tokenizer of sacrebleu that fits the script of some references.

    Args:
      references: for each text the references that it is compared with.

    Returns:
      The tokenizer, ``13a`` for languages with blanks between words, ``zh`` for Chinese,
      ``ja-mecab`` for Japanese if its packages are installed, and else ``char``; and the script as
      `unspaced_script` names it.

    >>> bleu_tokenizer([["a cat"]]), bleu_tokenizer([["一只猫"]])
    (('13a', None), ('zh', 'Chinese'))
    """
    script = unspaced_script(text for of_text in references for text in of_text)
    if script is None:
        return "13a", None
    if script == "Chinese":
        return "zh", script
    mecab = script == "Japanese" and all(map(importlib.util.find_spec, ("MeCab", "ipadic")))
    return ("ja-mecab" if mecab else "char"), script


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
