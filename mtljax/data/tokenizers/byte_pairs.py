"""Training of byte-level byte-pair encoding (BPE) with the `tokenizers` library."""

import itertools
from collections.abc import Iterable

from mtljax.data.tokenizers.protocol import Text
from mtljax.data.tokenizers.settings import TokenizerSettings
from mtljax.data.tokenizers.subword import well_formed
from mtljax.special_tokens import SPECIALS


def train_byte_pairs(corpora: Iterable[Iterable[Text]], settings: TokenizerSettings) -> str:
    """Trains byte-pair encoding on bytes, so that nothing is unknown.

    Sennrich et al. 2016, on bytes as Radford et al. 2019, with a space before the first word.

    Args:
        corpora: texts, corpus by corpus.
        settings: `lowercase`, `vocab_size`.

    Returns:
        The model, for `SubwordTokenizer`.
    """
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    model = tokenizers.Tokenizer(models.BPE())
    if settings.lowercase:
        model.normalizer = normalizers.Lowercase()
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = itertools.chain.from_iterable(corpora)
    lines = (well_formed(t if isinstance(t, str) else " ".join(t)) for t in texts)
    model.train_from_iterator(lines, trainer=trainer)
    return model.to_str()
