"""Training of WordPiece with the `tokenizers` library."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from mtljax.data.tokenizers.protocol import Text
from mtljax.data.tokenizers.settings import TokenizerSettings
from mtljax.data.tokenizers.subword import well_formed
from mtljax.data.tokenizers.word_splitting import FLAG, JOINERS, MODIFIERS
from mtljax.special_tokens import OOV, SPECIALS

PREFIX = "##"
"""The beginning of a piece that continues a word."""

# As `split_words`; here, unlike in Python, \w has combining marks.
_LETTERS = rf"\w[\w{JOINERS}]*"
_SIGN = rf"[^\w\s\x1c-\x1f][\p{{M}}{MODIFIERS}]*"
_WORD = rf"{_LETTERS}(?:['’]{_LETTERS})*|{FLAG}|{_SIGN}(?:\u200d{_SIGN})*"
_BLOCK = 1000  # words handed to the library at a time


def train_word_pieces(corpora: Iterable[Iterable[Text]], settings: TokenizerSettings) -> str:
    """Trains a vocabulary of parts of words.

    Schuster and Nakajima 2012, as in Devlin et al. 2019: the longest piece first; a word with a
    character outside the vocabulary, or of more than 100 characters, is a single `<oov>`. Pairs are
    merged by their frequency. The rarest characters are left out where they would fill more than
    the vocabulary.

    Args:
        corpora: texts, corpus by corpus.
        settings: `lowercase`, `vocab_size`.

    Returns:
        The model, for `SubwordTokenizer`.
    """
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    model = tokenizers.Tokenizer(models.WordPiece(unk_token=SPECIALS[OOV]))
    if settings.lowercase:
        model.normalizer = normalizers.Lowercase()
    pattern = tokenizers.Regex(_WORD)
    model.pre_tokenizer = pre_tokenizers.Split(pattern, "removed", invert=True)
    model.decoder = decoders.WordPiece(prefix=PREFIX, cleanup=False)

    counts = _count_words(corpora, model)
    kept = _most_frequent_characters(counts, (settings.vocab_size - len(SPECIALS)) // 2)
    counts = {word: n for word, n in counts.items() if kept.issuperset(word)}
    inner = sorted({PREFIX + character for word in counts for character in word[1:]})
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings.vocab_size,
        # The library numbers inner characters as they come out of a hash table, and breaks ties
        # by these numbers: named here, they have the same ones in every process.
        special_tokens=[*SPECIALS, *inner],
        show_progress=False,
        continuing_subword_prefix=PREFIX,
    )
    trained = tokenizers.Tokenizer(models.WordPiece(unk_token=SPECIALS[OOV]))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trained.train_from_iterator(_blocks(counts), trainer=trainer)
    # The vocabulary alone: in a text, none of its pieces is special.
    model.model = models.WordPiece(
        trained.get_vocab(),
        unk_token=SPECIALS[OOV],
        continuing_subword_prefix=PREFIX,
        max_input_chars_per_word=100,
    )
    return model.to_str()


def _count_words(corpora: Iterable[Iterable[Text]], model: Any) -> dict[str, int]:
    spans: Counter[str] = Counter()
    for corpus in corpora:
        for text in corpus:
            for part in (text,) if isinstance(text, str) else text:
                spans.update(part.split())
    # No word has a space in it, so that each distinct span is looked into once only.
    counts: Counter[str] = Counter()
    for span, n in spans.items():
        form = well_formed(span)
        if model.normalizer is not None:
            form = model.normalizer.normalize_str(form)
        for word, _ in model.pre_tokenizer.pre_tokenize_str(form):
            counts[word] += n
    return counts


def _most_frequent_characters(counts: dict[str, int], limit: int) -> set[str]:
    characters: Counter[str] = Counter()
    for word, n in counts.items():
        for character in word:
            characters[character] += n
    ranked = sorted(characters, key=lambda character: (-characters[character], character))
    return set(ranked[:limit])


def _blocks(counts: dict[str, int]) -> Iterator[str]:
    # Every word as often as it was counted, in texts of about the same size.
    block: list[str] = []
    for word, n in counts.items():
        while n:
            copies = min(n, _BLOCK - len(block))
            block += [word] * copies
            n -= copies
            if len(block) == _BLOCK:
                yield " ".join(block)
                block.clear()
    yield " ".join(block)
