"""Tokenizers: from texts or lists of words to ids, trained on training splits only.

Every kind of tokenizer follows the protocol `Tokenizer`; `train_tokenizer` makes one of the kind
that its settings name.
"""

from mtljax.data.tokenizers.byte_level import ByteTokenizer as ByteTokenizer
from mtljax.data.tokenizers.characters import CharacterTokenizer as CharacterTokenizer
from mtljax.data.tokenizers.file import load_tokenizer as load_tokenizer
from mtljax.data.tokenizers.file import save_tokenizer as save_tokenizer
from mtljax.data.tokenizers.file import train_tokenizer as train_tokenizer
from mtljax.data.tokenizers.protocol import Encodings as Encodings
from mtljax.data.tokenizers.protocol import Text as Text
from mtljax.data.tokenizers.protocol import Tokenizer as Tokenizer
from mtljax.data.tokenizers.settings import TokenizerSettings as TokenizerSettings
from mtljax.data.tokenizers.subword import SubwordTokenizer as SubwordTokenizer
from mtljax.data.tokenizers.word_splitting import split_words as split_words
from mtljax.data.tokenizers.words import WordTokenizer as WordTokenizer
