import pytest

from mtljax.data import TokenizerSettings
from mtljax.errors import UserError


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "letters"},
        {"num_words": 0},
        {"min_count": 1.5},
        {"affix_buckets": 0},
        {"vocab_size": 200},
        {"prefixes": (0,)},
        {"suffixes": (True,)},
        {"lowercase": "yes"},
        {"shape": None},
        {"file": None},
        {"file": "", "kind": "file"},
        {"file": "t.json", "kind": "bpe"},
    ],
)
def test_bad_settings(fields):
    with pytest.raises(UserError, match=f"tokenizer {next(iter(fields))}") as error:
        TokenizerSettings(**fields)
    assert "\n" not in str(error.value)


def test_all_kinds_are_named():
    with pytest.raises(UserError, match="'words', 'bpe', .*'file' or 'pretrained'"):
        TokenizerSettings("letters")  # type: ignore[arg-type]


def test_what_goes_with_a_kind():
    assert TokenizerSettings(prefixes=(1,), suffixes=(), shape=True).affixes == 2
    for kind, gap in [("words", 0), ("bpe", 0), ("wordpiece", 0), ("character", 1), ("byte", 1)]:
        settings = TokenizerSettings(kind)
        assert settings.word_gap == gap
        assert (settings.affixes > 0) == (kind == "words")
