import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.data.tokenizers import TokenizerSettings, train_tokenizer
from mtljax.generation import Decodable
from mtljax.inference.decoder import compiled
from mtljax.inference.generation_config import GenerationConfig
from mtljax.inference.prompts import read_prompt
from mtljax.inference.text_generator import ROWS, Writer, added_text, continuations, settled

WIDTH = 8


@pytest.fixture(scope="module")
def tokenizer():
    settings = TokenizerSettings(min_count=1, prefixes=(), suffixes=(), shape=False)
    return train_tokenizer([[" ".join(f"w{i}" for i in range(9))]], settings)


def following(last, position):
    """Logits of a word that tells where the last one stood in what was read; the end after w0."""
    best = jnp.where(last == 4, 1, 2 + position)
    return 9.0 * jax.nn.one_hot(best, 11) + jax.nn.one_hot(best + 1, 11)


def prefill(_, batch, room):
    assert batch["tokens"].shape[0] == ROWS
    last, position = batch["tokens"][:, -1], batch["positions"][:, -1]
    return position, following(last, position)


def step(_, position, classes, count):
    position = position + 1
    return position, following(classes + 2, position)


@pytest.fixture(scope="module")
def writer(tokenizer):
    ids = np.concatenate([[1, 3], np.arange(4, 13)]).astype(np.int32)
    decoder = compiled(Decodable(prefill, step), lambda params: params, ids)
    affixes = np.zeros((tokenizer.vocab_size, 0), np.int32)

    def make(goes_on=True):
        return Writer(decoder, None, tokenizer, affixes, WIDTH, goes_on)

    return make


NEXT = type("Next", (), {"name": "next", "kind": "language_model"})


def write(writer, texts, **how):
    how = GenerationConfig(temperature=0.0, **how)
    prompts = [
        read_prompt(NEXT, writer.tokenizer, text, WIDTH, how.max_tokens, "refuse") for text in texts
    ]
    keys = [np.zeros(2, np.uint32)] * len(texts) * how.samples
    return continuations(writer, prompts, keys, how)


def test_words_tell_where_they_stand(writer):
    assert write(writer(), ["", "w5", "w5 w5 w5", "w0"], max_tokens=3) == [
        "w0", " w1 w2 w3", " w3 w4 w5", ""
    ]  # fmt: skip


@pytest.mark.parametrize("count", [7, 10, 17])
def test_where_the_context_is_full_the_last_half_is_read_anew(writer, count):
    expected, size, left = [], 2, count  # <s> and a word
    while left:
        if size > WIDTH:
            size = max(WIDTH // 2, WIDTH - left + 1)
        expected.append(f"w{size - 1}")
        size, left = size + 1, left - 1
    found = write(writer(), ["w5"], max_tokens=count)
    assert found == [" " + " ".join(expected)]
    assert write(writer(goes_on=False), ["w5"], max_tokens=count) == [
        " ".join(expected[: WIDTH - 1])
    ]


def test_many_prompts_of_unlike_lengths_keep_their_order(writer):
    texts = [" ".join(["w5"] * (1 + i % 6)) for i in range(2 * ROWS + 3)]
    found = write(writer(), texts, max_tokens=1, samples=2)
    assert found == [f" w{1 + i % 6}" for i in range(2 * ROWS + 3) for _ in range(2)]
    assert write(writer(), texts, max_tokens=1, beam=2) == found[::2]
    assert write(writer(), texts, max_tokens=0, beam=1) == [""] * len(texts)


def test_beams_have_room_after_a_long_prompt(writer):
    text = " ".join(["w5"] * (WIDTH - 1))
    assert write(writer(), [text], max_tokens=4, beam=1) == [" w4 w5 w6 w7"]


@pytest.mark.parametrize("beam", [0, 1])
def test_stops(writer, beam):
    assert write(writer(), ["w5", "w5 w5 w5"], max_tokens=5, beam=beam, stop=("w4 w5", "w3")) == [
        " w1 w2 ", " "
    ]  # fmt: skip


def test_penalties_see_the_prompt_only_where_a_text_goes_on(writer):
    how = {"max_tokens": 2, "repetition_penalty": 100.0}
    assert write(writer(), ["w1"], **how) == [" w2 w3"]
    assert write(writer(goes_on=False), ["w1"], **how) == ["w1 w2"]


def test_added_text(tokenizer):
    prompt = read_prompt(NEXT, tokenizer, "w1 w2", WIDTH, 1, "refuse")
    assert added_text(tokenizer, prompt, []) == ""
    assert added_text(tokenizer, prompt, [4, 5]) == " w0 w1"
    empty = read_prompt(NEXT, tokenizer, "", WIDTH, 1, "refuse")
    assert added_text(tokenizer, empty, [4, 5]) == "w0 w1"


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("", (), ""),
        ("one", (), ""),
        (" one two", (), " one"),
        ("one two ", (), "one"),
        ("a b c\n", ("\n\n",), "a b"),
        ("a b. c. d", (". d?",), "a b."),
    ],
)
def test_settled(text, stop, expected):
    assert settled(text, stop) == expected
