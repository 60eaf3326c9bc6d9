import dataclasses
import itertools
import subprocess
import sys
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.tokenizers import train_tokenizer
from mtljax.data.tokenizers.fingerprint import (
    begin_fingerprint,
    content_digest,
    fingerprint_of_model,
    read_along,
)
from mtljax.data.tokenizers.settings import Kind

# Characters and words that a careless way of writing them down would confuse.
WORD = st.text("a \n1\ud800", max_size=3)
CORPORA = st.lists(st.lists(WORD | st.lists(WORD, max_size=3), max_size=3), max_size=3)
PLAIN = TokenizerSettings()


def fingerprint(corpora, settings=PLAIN):
    hashed = begin_fingerprint(settings)
    for corpus in read_along(corpora, hashed):
        for _ in corpus:
            pass
    return hashed.hexdigest()


@given(CORPORA)
def test_texts_are_handed_on(corpora):
    assert [list(corpus) for corpus in read_along(corpora, begin_fingerprint(PLAIN))] == corpora


@given(CORPORA, CORPORA)
def test_equal_texts_and_equal_fingerprints(one, two):
    assert (fingerprint(one) == fingerprint(two)) == (one == two)
    assert fingerprint(one) == fingerprint(tuple(corpus) for corpus in one)


def test_what_looks_alike():
    different = [
        *([], [[]], [[], []], [[""]], [[[]]], [[[""]]], [[["", ""]]], [["", ""]], [[""], [""]]),
        *([["ab"]], [["a", "b"]], [["a"], ["b"]], [[["a", "b"]]], [[["ab"]]], [[["a"], ["b"]]]),
        *([["b", "a"]], [["corpus\n"]], [["text 1\na"]], [["\ud83d\ude00"]], [["\U0001f600"]]),
    ]
    assert len({fingerprint(corpora) for corpora in different}) == len(different)


def test_every_setting_counts_but_the_path_of_a_file():
    other = {
        "kind": "bpe",
        "lowercase": False,
        "num_words": 1,
        "min_count": 1,
        "prefixes": (7,),
        "suffixes": (7,),
        "shape": False,
        "characters": 4,
        "affix_buckets": 1,
        "vocab_size": 300,
    }
    fields = {field.name for field in dataclasses.fields(TokenizerSettings)}
    assert fields == {*other, "file"}
    changed = [dataclasses.replace(PLAIN, **{name: value}) for name, value in other.items()]
    assert len({fingerprint([["a"]], settings) for settings in (PLAIN, *changed)}) == 1 + len(other)
    one, two = (TokenizerSettings("file", file=path) for path in ("a.json", "b.json"))
    assert fingerprint([], one) == fingerprint([], two)


def test_of_trained_tokenizers(bert_file):
    files = {"file": str(bert_file), "pretrained": str(bert_file.parent)}
    settings = [
        TokenizerSettings(kind, vocab_size=300, file=files.get(kind, "")) for kind in get_args(Kind)
    ]
    corpora = [[["a cat"]], [["a", "cat"]], [["a", "cats"]]]
    found = {
        (s.kind, i): train_tokenizer(texts, s).fingerprint
        for s, (i, texts) in itertools.product(settings, enumerate(corpora))
    }
    for kind in ("file", "byte", "pretrained"):  # on which texts have no bearing
        assert len({found.pop((kind, i)) for i in range(3)}) == 1
    assert len(set(found.values())) == len(found)
    assert found["words", 0] == fingerprint(corpora[0], settings[0])


def test_it_is_the_same_in_every_process():
    code = (
        "from mtljax.data import TokenizerSettings\n"
        "from mtljax.data.tokenizers import train_tokenizer\n"
        "texts = [['a cat', ['a', 'ø']]]\n"
        "for kind in ('words', 'byte'):\n"
        "    print(train_tokenizer(texts, TokenizerSettings(kind)).fingerprint)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    texts = [["a cat", ["a", "ø"]]]
    here = [
        train_tokenizer(texts, TokenizerSettings(kind)).fingerprint for kind in ("words", "byte")
    ]
    assert run.stdout.split() == here


def test_the_digest_of_json_sees_content_alone():
    assert content_digest({"a": 1, "b": "\ud800"}) == content_digest({"b": "\ud800", "a": 1})
    assert content_digest({"a": 1}) != content_digest({"a": 2}) != content_digest({"b": 2})


def test_of_a_model():
    one = fingerprint_of_model(PLAIN, {"words": ["a"]})
    assert one == fingerprint_of_model(TokenizerSettings(), {"words": ["a"]})
    assert one != fingerprint_of_model(PLAIN, {"words": ["b"]})
    assert one != fingerprint_of_model(TokenizerSettings(min_count=1), {"words": ["a"]})
