import json

import pytest

from mtljax.data import load_tokenizer, save_tokenizer
from mtljax.data.tokenizers import Tokenizer
from mtljax.data.tokenizers.fingerprint import content_digest
from mtljax.errors import UserError

TEXTS = ["The cat sat, the cat ate.", ["odd", "", "\ud800", "hat"], " "]


def test_save_and_load(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(loaded, Tokenizer)
    assert loaded.settings == tokenizer.settings
    assert loaded.pieces == tokenizer.pieces
    assert loaded.fingerprint == tokenizer.fingerprint
    one, two = tokenizer.encode(TEXTS), loaded.encode(TEXTS)
    assert one.tokens.tolist() == two.tokens.tolist()
    assert one.affixes.tolist() == two.affixes.tolist()
    assert loaded.decode(one.tokens.tolist()) == tokenizer.decode(one.tokens.tolist())
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
        {"format": 3},
        {"settings": {"kind": "words", "n": 1}},
        {"settings": None},
        {"settings": {"kind": "letters"}},
        {"settings": {"kind": "words"}, "words": [1]},
        {"settings": {"kind": "words"}, "words": "abc"},
        {"settings": {"kind": "character"}, "characters": None},
        {"settings": {"kind": "character"}, "characters": ["ab"]},
        {"settings": {"kind": "bpe"}, "model": []},
    ],
)
@pytest.mark.parametrize("sealed", [True, False])
def test_damaged_content(tokenizer, tmp_path, change, sealed):
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    content = json.loads(path.read_text()) | change
    if sealed:  # with a digest that fits
        del content["digest"]
        content["digest"] = content_digest(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="damaged"):
        load_tokenizer(path)


def test_one_changed_value_is_noticed(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    whole = json.loads(path.read_text())
    for key in set(whole) - {"digest", "format"}:
        path.write_text(json.dumps(whole | {key: _changed(whole[key])}))
        with pytest.raises(UserError, match="damaged: ValueError its content"):
            load_tokenizer(path)
    for key in set(whole) - {"format"}:
        path.write_text(json.dumps({name: whole[name] for name in whole if name != key}))
        with pytest.raises(UserError, match="damaged"):
            load_tokenizer(path)
    path.write_text(json.dumps(whole, indent=2, sort_keys=True))
    assert load_tokenizer(path).fingerprint == tokenizer.fingerprint


def _changed(value):
    if isinstance(value, dict):
        key = sorted(value)[0]
        return value | {key: _changed(value[key])}
    if isinstance(value, list):
        return [*value, "x"]
    return f"{value}0"


@pytest.mark.parametrize("kind", ["words", "bpe"])
def test_the_format_before(of_kind, tmp_path, kind):
    """It had neither fingerprint nor digest, and no setting `file`."""
    tokenizer, path = of_kind(kind), tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    content = json.loads(path.read_text()) | {"format": 1}
    del content["fingerprint"], content["digest"], content["settings"]["file"]
    path.write_text(json.dumps(content))
    loaded = load_tokenizer(path)
    assert loaded.settings == tokenizer.settings and loaded.pieces == tokenizer.pieces
    assert loaded.encode(TEXTS).tokens.tolist() == tokenizer.encode(TEXTS).tokens.tolist()
    # Nothing is known of its texts, but two of the same model have the same one.
    assert len(loaded.fingerprint) == 64
    assert loaded.fingerprint == load_tokenizer(path).fingerprint != tokenizer.fingerprint
    save_tokenizer(loaded, path)
    assert load_tokenizer(path).fingerprint == loaded.fingerprint


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "{}"])
def test_other_json(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        load_tokenizer(tmp_path / "t.json")


def test_missing(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_tokenizer(tmp_path / "t.json")
