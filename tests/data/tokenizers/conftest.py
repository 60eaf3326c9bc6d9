from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from mtljax.data import TokenizerSettings
from mtljax.data.tokenizers import Tokenizer, train_tokenizer
from mtljax.data.tokenizers.settings import Kind

CORPUS = [
    ["The cat sat on the mat, the cat ate.", "An odd hat: ø!"] * 3,
    [["The", "odd", "cat"], ["\ud800", "mat"]] * 2,
]

OWN = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def bert_like() -> Any:
    """A model with all that must not matter: padding, truncation, special pieces around a text."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    pieces = [*OWN, *"abcdefghijklmnopqrstuvwxyz.,!", "the", "cat", *(f"##{c}" for c in "acest")]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    model = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    model.normalizer = normalizers.BertNormalizer(lowercase=True)
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    model.decoder = decoders.WordPiece(prefix="##")
    model.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    model.add_special_tokens(OWN)
    model.enable_padding(pad_id=0, pad_token="[PAD]")
    model.enable_truncation(5)
    return model


@pytest.fixture(scope="session")
def bert_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert") / "tokenizer.json"
    bert_like().save(str(path))
    return path


@pytest.fixture
def corpus() -> list[list[Any]]:
    return CORPUS


@pytest.fixture(scope="session")
def of_kind(bert_file: Path) -> Callable[..., Tokenizer]:
    """Trains a small tokenizer of a kind."""

    def train(kind: Any, **options: Any) -> Tokenizer:
        files = {"file": str(bert_file), "pretrained": str(bert_file.parent)}
        file = files.get(kind, "")
        settings = TokenizerSettings(kind, vocab_size=300, file=file, **options)
        return train_tokenizer(CORPUS, settings)

    return train


@pytest.fixture(scope="session", params=get_args(Kind))
def tokenizer(request: pytest.FixtureRequest, of_kind: Callable[..., Tokenizer]) -> Tokenizer:
    """A small tokenizer of each kind."""
    return of_kind(request.param)
