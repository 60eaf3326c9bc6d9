from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from mtljax.data.tokenizers import TokenizerSettings, train_tokenizer
from mtljax.errors import UserError
from mtljax.inference.prompts import (
    Prompt,
    affix_table,
    keep_last,
    prompt_keys,
    read_prompt,
)

NEXT = SimpleNamespace(name="next", kind="language_model")
REPLY = SimpleNamespace(name="reply", kind="text_to_text")


@pytest.fixture(scope="module")
def tokenizer():
    settings = TokenizerSettings(min_count=1, prefixes=(1,), suffixes=(), affix_buckets=16)
    return train_tokenizer([[" ".join(f"w{i}" for i in range(20))]], settings)


def words(tokenizer, prompt):
    assert len(prompt.affixes) == len(prompt.tokens)
    assert prompt.tokens.dtype == np.int32
    return " ".join(tokenizer.pieces[i] for i in prompt.tokens)


def read(task, tokenizer, text, too_long="refuse"):
    return words(tokenizer, read_prompt(task, tokenizer, text, 8, 3, too_long))


@pytest.mark.parametrize(
    ("task", "text", "expected"),
    [
        (NEXT, "", "<s>"),
        (NEXT, ["w1", "w2"], "<s> w1 w2"),
        (NEXT, "w1 w2 w3 w4 w5 w6 w7", "<s> w1 w2 w3 w4 w5 w6 w7"),
        (REPLY, "w1 w2", "<s> w1 w2 </s>"),
        (REPLY, "", "<s> </s>"),
        (REPLY, "w1 w2 w3 w4 w5 w6", "<s> w1 w2 w3 w4 w5 w6 </s>"),
    ],
)
def test_what_is_read(task, text, expected, tokenizer):
    for too_long in ("refuse", "left", "right"):
        assert read(task, tokenizer, text, too_long) == expected


LONG = "w1 w2 w3 w4 w5 w6 w7 w8"


@pytest.mark.parametrize(
    ("task", "text", "count", "most", "left", "right"),
    [
        (NEXT, LONG, 9, 8, "<s> w2 w3 w4 w5 w6 w7 w8", "<s> w1 w2 w3 w4 w5 w6 w7"),
        (REPLY, LONG, 9, 7, "<s> w5 w6 w7 w8 </s>", "<s> w1 w2 w3 w4 </s>"),
        (REPLY, LONG[:-3], 8, 7, "<s> w4 w5 w6 w7 </s>", "<s> w1 w2 w3 w4 </s>"),
        (NEXT, "w1 " * 10_000, 10_001, 8, "<s>" + " w1" * 7, "<s>" + " w1" * 7),
    ],
)
def test_what_is_too_long(task, text, count, most, left, right, tokenizer):
    message = f"the text has {count} tokens, and the model reads {most} at once"
    with pytest.raises(UserError, match=message):
        read(task, tokenizer, text)
    assert read(task, tokenizer, text, "left") == left
    assert read(task, tokenizer, text, "right") == right


def test_affixes_are_those_of_the_words(tokenizer):
    prompt = read_prompt(NEXT, tokenizer, "w3 Unknown", 8, 1, "refuse")
    table = affix_table(tokenizer)
    assert (prompt.affixes[0] == 0).all() and (table[:4] == 0).all()
    np.testing.assert_array_equal(prompt.affixes[1], table[prompt.tokens[1]])
    assert prompt.affixes[2].any()  # which the table cannot know


def test_keep_last(tokenizer):
    prompt = Prompt(np.arange(2, 9, dtype=np.int32), np.arange(7, dtype=np.int32)[:, None])
    assert keep_last(prompt, 7) is prompt
    short = keep_last(prompt, 3)
    assert short.tokens.tolist() == [2, 7, 8] and short.affixes[:, 0].tolist() == [0, 5, 6]


def test_keys_depend_on_the_prompt_and_its_number():
    def keys(prompts, samples=1, seed=0, seen=()):
        found = prompt_keys(seed, prompts, samples, Counter(dict(seen)))
        return [tuple(one.tolist()) for one in found]

    a, b, again = keys(["a", "b", "a"])
    assert len({a, b, again}) == 3
    assert keys(["b", ["a"]]) == [b, a]
    assert keys(["a"], samples=2) == [a, again]
    assert keys(["a"], seen={"a": 1}) == [again]
    assert keys(["a"], seed=1) != [a]
    seen = Counter()
    prompt_keys(0, ["a", ["a", "b"]], 3, seen)
    assert seen == {"a": 3, "a b": 3}
