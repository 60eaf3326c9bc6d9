"""Models from files, of all makes."""

import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers

from mtljax.data import TokenizerSettings
from mtljax.data.tokenizers import SubwordTokenizer, train_tokenizer
from mtljax.data.tokenizers.subword import well_formed
from mtljax.special_tokens import OOV

TEXT = st.text("the cat\n") | st.text(st.characters(codec="utf-8"))


def gpt_like():
    """Byte pairs without a space before the first word."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, "Ġc", "at", "Ġcat", "<|endoftext|>"]
    merges = [("Ġ", "c"), ("a", "t"), ("Ġc", "at")]
    model = tokenizers.Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens(["<|endoftext|>"])
    return model


def llama_like():
    """Byte pairs with a mark for the space and bytes for unknown characters."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{i:02X}>" for i in range(256)),
        *"▁abcdeht",
        "▁c",
        "at",
    ]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    merges = [("▁", "c"), ("a", "t")]
    model = tokenizers.Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    model.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    model.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    model.add_special_tokens(["<unk>", "<s>", "</s>"])
    return model


def unigram():
    # A special piece with the best score of all: it comes out of a text that has it.
    scores = {"<unk>": -9.0, "<s>": 0.0, "▁": -3.0, "▁cat": -2.0, "s": -4.0, "c": -5.0, "a": -5.0}
    model = tokenizers.Tokenizer(models.Unigram(list(scores.items()), unk_id=0))
    model.pre_tokenizer = pre_tokenizers.Metaspace()
    model.decoder = decoders.Metaspace()
    model.add_special_tokens(["<unk>", "<s>"])
    return model


def whole_words():
    vocab = {"cat": 0, "the": 1, "?": 2, "[CLS]": 7}  # with holes
    model = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="?"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    model.add_special_tokens(["[CLS]"])
    return model


MAKES = {"gpt": gpt_like, "llama": llama_like, "unigram": unigram, "words": whole_words}


@pytest.fixture(scope="module", params=MAKES)
def pair(request, tmp_path_factory):
    """A tokenizer of a file, and what the library makes of it."""
    model = MAKES[request.param]()
    path = tmp_path_factory.mktemp("make") / "tokenizer.json"
    model.save(str(path))
    return of_file(path), model


def of_file(path):
    return train_tokenizer([], TokenizerSettings("file", file=str(path)))


@given(text=TEXT)
def test_ids_are_moved_behind_the_special_ones(pair, text):
    tokenizer, model = pair
    unknown = model.token_to_id("?" if model.token_to_id("cat") == 0 else "<unk>")
    special = {i for i, token in model.get_added_tokens_decoder().items() if token.special}
    ids = model.encode(text, add_special_tokens=False).ids
    expected = [OOV if i == unknown or i in special else i + 4 for i in ids]
    assert tokenizer.encode([text]).tokens[1:].tolist() == expected
    assert all(tokenizer.pieces[i + 4] == model.id_to_token(i) for i in ids)


@given(text=TEXT)
def test_decoding_is_that_of_the_library(pair, text):
    tokenizer, model = pair
    ids = model.encode(text, add_special_tokens=False).ids
    expected = model.decode(ids, skip_special_tokens=False)
    assert tokenizer.decode(tokenizer.encode([text]).tokens.tolist()) == expected


@given(words=st.lists(st.sampled_from(["cat", "the", "cats", "zq", "ø", ""]), max_size=5))
def test_a_word_of_a_list_has_the_pieces_it_has_inside_a_text(pair, words):
    tokenizer, _ = pair
    encodings = tokenizer.encode([["the", *words], "the" + "".join(f" {w}" for w in words if w)])
    begins = np.flatnonzero(encodings.words >= 0)
    assert encodings.words[begins].tolist() == list(range(len(words) + 1))
    if "" in words:
        return
    one = encodings.tokens[begins[1] if words else encodings.starts[1] : encodings.starts[1]]
    two = encodings.tokens[encodings.starts[1] :]
    assert two[len(two) - len(one) :].tolist() == one.tolist()


def test_holes_among_the_ids(tmp_path):
    whole_words().save(str(tmp_path / "t.json"))
    tokenizer = of_file(tmp_path / "t.json")
    assert tokenizer.vocab_size == 12
    assert tokenizer.pieces[4:] == ("cat", "the", "?", "", "", "", "", "[CLS]")
    ids = tokenizer.encode(["the dog [CLS]"]).tokens
    assert ids.tolist() == [2, 5, OOV, OOV]
    assert tokenizer.decode(ids.tolist()) == "the ? ?"
    assert tokenizer.decode([5, 11, 4]) == "the cat"


def test_a_special_piece_that_comes_out_of_a_text_is_unknown(tmp_path):
    model = unigram()
    model.encode_special_tokens = True
    model.save(str(tmp_path / "t.json"))
    assert 1 in model.encode("cat <s>").ids
    tokens = of_file(tmp_path / "t.json").encode(["cat <s>"]).tokens
    assert tokens.tolist() == [2, 7, 6, OOV]


def test_special_pieces_must_be_in_their_places():
    with pytest.raises(ValueError, match="special pieces"):
        SubwordTokenizer(gpt_like().to_str(), TokenizerSettings("bpe"))


def test_the_fingerprint_without_texts_is_that_of_the_model():
    settings = TokenizerSettings("file", file="x")
    one, two = (SubwordTokenizer(make().to_str(), settings) for make in (gpt_like, unigram))
    assert one.fingerprint != two.fingerprint
    again = SubwordTokenizer(json.dumps(one.to_json()["model"]), settings)
    assert again.fingerprint == one.fingerprint


def test_more_words_than_are_remembered(of_kind, monkeypatch):
    monkeypatch.setattr("mtljax.data.tokenizers.subword._REMEMBERED", 2)
    tokenizer = of_kind("wordpiece")
    first = tokenizer.encode([["the", "cat", "sat", "odd"]]).tokens.tolist()
    for _ in range(2):
        assert tokenizer.encode([["the", "cat", "sat", "odd"]]).tokens.tolist() == first


@given(st.text())
def test_well_formed(text):
    found = well_formed(text)
    assert len(found) == len(text)
    for one, two in zip(text, found, strict=True):
        assert two == ("?" if "\ud800" <= one <= "\udfff" else one)
