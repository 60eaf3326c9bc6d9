import json

import pytest

from mtljax.data import TokenizerSettings, load_tokenizer, save_tokenizer
from mtljax.data.tokenizers import train_tokenizer
from mtljax.data.tokenizers.tokenizer_json import read_tokenizer_json
from mtljax.errors import UserError


def of_file(path):
    return train_tokenizer([], TokenizerSettings("file", file=str(path)))


def test_padding_truncation_and_special_pieces_are_taken_away(bert_file):
    import tokenizers

    library = tokenizers.Tokenizer.from_file(str(bert_file))
    assert library.encode("the cat").tokens == ["[CLS]", "the", "cat", "[SEP]"]
    tokenizer = of_file(bert_file)
    texts = ["The cat, the cats!", "the", ["cats", "zebra"]]
    found = tokenizer.encode(texts)
    pieces = [tokenizer.pieces[i] for i in found.tokens]
    assert pieces == [
        *("<s>", "the", "cat", ",", "the", "cat", "##s", "!"),
        *("<s>", "the"),
        *("<s>", "cat", "##s", "<oov>"),
    ]
    assert found.words[10:].tolist() == [-1, 0, -1, 1]
    assert tokenizer.decode(found.tokens[:8].tolist()) == "the cat, the cats!"


def test_dropout_is_taken_away(tmp_path):
    from tokenizers import Tokenizer, models

    pieces = ["a", "b", "ab", "abab", "[UNK]"]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    merges = [("a", "b"), ("ab", "ab")]
    model = Tokenizer(models.BPE(vocab, merges, dropout=0.9, unk_token="[UNK]"))
    model.save(str(tmp_path / "t.json"))
    tokenizer = of_file(tmp_path / "t.json")
    for _ in range(20):
        assert tokenizer.encode(["ababab"]).tokens.tolist() == [2, 7, 6]


def test_a_run_does_not_need_the_file_any_more(bert_file, tmp_path):
    copy, kept = tmp_path / "copy.json", tmp_path / "tokenizer.json"
    copy.write_bytes(bert_file.read_bytes())
    tokenizer = of_file(copy)
    save_tokenizer(tokenizer, kept)
    copy.unlink()
    loaded = load_tokenizer(kept)
    assert loaded.settings.file == str(copy)
    assert loaded.fingerprint == tokenizer.fingerprint == of_file(bert_file).fingerprint
    text = ["the cats", ["the", "cats"]]
    assert loaded.encode(text).tokens.tolist() == tokenizer.encode(text).tokens.tolist()


def test_spaces_and_order_of_the_file_do_not_matter(bert_file, tmp_path):
    content = json.loads(bert_file.read_bytes())
    other = tmp_path / "t.json"
    other.write_text(json.dumps(dict(reversed(content.items())), indent=3))
    assert of_file(other).fingerprint == of_file(bert_file).fingerprint
    content["model"]["vocab"]["zebra"] = len(content["model"]["vocab"])
    other.write_text(json.dumps(content))
    assert of_file(other).fingerprint != of_file(bert_file).fingerprint


def refusal(path):
    with pytest.raises(UserError) as error:
        of_file(path)
    message = str(error.value)
    assert message.startswith(f"tokenizer file {path}: ") and "\n" not in message
    return message.removeprefix(f"tokenizer file {path}: ")


def test_missing(tmp_path):
    assert refusal(tmp_path / "t.json") == "No such file or directory"
    assert refusal(tmp_path) == "Is a directory"


def test_cut_short_anywhere(bert_file, tmp_path):
    whole, path = bert_file.read_bytes(), tmp_path / "t.json"
    for keep in [0, 1, 20, len(whole) // 2, len(whole) - 2]:
        path.write_bytes(whole[:keep])
        assert refusal(path).startswith("cut short or damaged: ")
    path.write_bytes(b"\xff" + whole)
    assert refusal(path).startswith("cut short or damaged: ")
    path.write_text("[" * 100_000)
    assert refusal(path).startswith("cut short or damaged: ")


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"model": null}', '{"version": "1.0"}'])
def test_other_json(tmp_path, text):
    (tmp_path / "t.json").write_text(text)
    assert refusal(tmp_path / "t.json") == "no tokenizer.json of the tokenizers library"


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"type": "Letters", "vocab": {}}},
        {"model": {}},
        {"pre_tokenizer": {"type": "Custom"}},
        {"added_tokens": 3},
    ],
)
def test_what_the_library_does_not_know(bert_file, tmp_path, change):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(json.loads(bert_file.read_bytes()) | change))
    assert refusal(path).startswith("cannot be used: ")


def test_our_own_file_is_none(of_kind, tmp_path):
    save_tokenizer(of_kind("bpe"), tmp_path / "t.json")
    assert refusal(tmp_path / "t.json")


def test_a_model_that_fails_at_unknown_text(tmp_path):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0}, unk_token="[UNK]")).save(str(tmp_path / "t.json"))
    assert refusal(tmp_path / "t.json").startswith("cannot be used: ")
    Tokenizer(models.BPE()).save(str(tmp_path / "t.json"))
    assert refusal(tmp_path / "t.json") == "cannot be used: its vocabulary is empty"


def byte_pairs(path, vocab, pre_tokenizer=None, normalizer=None, **settings):
    from tokenizers import Tokenizer, models

    model = Tokenizer(models.BPE({piece: i for i, piece in enumerate(vocab)}, [], **settings))
    if pre_tokenizer is not None:
        model.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        model.normalizer = normalizer
    model.save(str(path))
    return path


def test_byte_pairs_that_lose_what_they_do_not_know(tmp_path):
    from tokenizers import normalizers, pre_tokenizers

    path = tmp_path / "t.json"
    letters, fallback = "abcdefghijklmnopqrstuvwxyz", [f"<0x{i:02X}>" for i in range(256)]
    # As GPT-2 writes bytes: independent of the list of the library.
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    bytes_ = [chr(i) for i in (*visible, *range(256, 256 + 256 - len(visible)))]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for pieces, settings in {
        "letters": (letters, {}),
        "split": (letters, {"pre_tokenizer": pre_tokenizers.Whitespace()}),
        "some bytes": ([*letters, *fallback[:0x80]], {"byte_fallback": True}),
        "all but one byte": (fallback[:0xE3] + fallback[0xE4:], {"byte_fallback": True}),
        "some visible bytes": (bytes_[:150], {"pre_tokenizer": byte_level}),
    }.values():
        message = refusal(byte_pairs(path, pieces, **settings))
        assert message.startswith("cannot be used: ") and "would be lost" in message
        assert "'unk_token'" in message and len(message) < 200
    for pieces, settings in {
        "unknown": ([*letters, "[UNK]"], {"unk_token": "[UNK]"}),
        "bytes": ([*letters, *fallback], {"byte_fallback": True}),
        "visible bytes": (bytes_, {"pre_tokenizer": byte_level}),
        "unknown of others": (
            letters,
            {"normalizer": normalizers.Replace("x", ""), "unk_token": "a"},
        ),
    }.values():
        tokenizer = of_file(byte_pairs(path, pieces, **settings))
        assert len(tokenizer.encode(["naïve 我"]).tokens) > 7


def test_a_model_of_few_pieces_and_large_ids(tmp_path):
    from tokenizers import Tokenizer, models

    # Its own writer goes through all ids up to the largest.
    content = json.loads(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).to_str())
    content["model"]["vocab"]["b"] = 10**9
    (tmp_path / "t.json").write_text(json.dumps(content))
    expected = "cannot be used: it has 2 pieces, but ids up to 1000000000"
    assert refusal(tmp_path / "t.json") == expected


def test_the_content_is_what_the_file_has(bert_file):
    found, there = read_tokenizer_json(str(bert_file)), json.loads(bert_file.read_bytes())
    changed = {name for name in there if found[name] != there[name]}
    assert changed == {"truncation", "padding", "post_processor"}


def test_the_probes_have_every_byte_of_utf_8():
    from mtljax.data.tokenizers.tokenizer_json import _EVERY_BYTE

    never = {0xC0, 0xC1, *range(0xF5, 0x100)}
    assert set(_EVERY_BYTE.encode()) == set(range(0x100)) - never
