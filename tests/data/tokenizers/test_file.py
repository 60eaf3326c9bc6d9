import json

import pytest

from mtljax.data import TokenizerSettings, load_tokenizer, save_tokenizer
from mtljax.data.tokenizers import Tokenizer, train_tokenizer
from mtljax.errors import UserError

TEXTS = ["The cat sat, the cat ate.", ["odd", "odd", "\ud800", "\ud800"]]


@pytest.fixture(params=["words", "bpe"])
def tokenizer(request):
    settings = TokenizerSettings(kind=request.param, vocab_size=300, prefixes=(1, 2))
    return train_tokenizer([TEXTS], settings)


def test_save_and_load(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(loaded, Tokenizer)
    assert loaded.settings == tokenizer.settings
    assert loaded.pieces == tokenizer.pieces
    one, two = tokenizer.encode(TEXTS), loaded.encode(TEXTS)
    assert one.tokens.tolist() == two.tokens.tolist()
    assert one.affixes.tolist() == two.affixes.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def test_an_interrupted_save_leaves_nothing_that_is_seen(tokenizer, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    assert [path.name[0] for path in tmp_path.iterdir()] == ["."]


def test_cut_short_anywhere(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    whole = path.read_bytes()
    for keep in [0, 1, 20, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:keep])
        with pytest.raises(UserError, match="cut short or damaged") as error:
            load_tokenizer(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"settings": {"kind": "words", "n": 1}},
        {"settings": None},
        {"settings": {"kind": "letters"}},
        {"words": [1], "model": {}},
        {"words": "abc", "model": []},
    ],
)
def test_damaged_content(tokenizer, tmp_path, change):
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="damaged"):
        load_tokenizer(path)


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "{}"])
def test_other_json(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        load_tokenizer(tmp_path / "t.json")


def test_missing(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_tokenizer(tmp_path / "t.json")


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
    ],
)
def test_bad_settings(fields):
    with pytest.raises(UserError, match=next(iter(fields))):
        TokenizerSettings(**fields)
