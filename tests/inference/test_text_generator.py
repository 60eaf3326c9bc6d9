import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.data.tokenizers import TokenizerSettings, train_tokenizer
from mtljax.generation import Decodable
from mtljax.inference.decoder import compiled
from mtljax.inference.generation_config import GenerationConfig
from mtljax.inference.prompts import read_prompt
from mtljax.inference.text_generator import ROWS, TextGenerator, generate_texts
from mtljax.tasks import Task

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


def task(kind):
    return Task("next", "d", kind, "text", "text" if kind == "text_to_text" else None)


@pytest.fixture(scope="module")
def generator(tokenizer):
    ids = np.concatenate([[1, 3], np.arange(4, 13)]).astype(np.int32)
    decoder = compiled(Decodable(prefill, step), lambda params: params, ids)
    affixes = np.zeros((tokenizer.vocab_size, 0), np.int32)

    def make(kind="language_model"):
        return TextGenerator(task(kind), tokenizer, decoder, {}, affixes, WIDTH)

    return make


def generated(generator, texts, **settings):
    config = GenerationConfig(temperature=0.0, **settings)
    prompts = [
        read_prompt(
            task("language_model"), generator.tokenizer, text, WIDTH, config.max_tokens, "refuse"
        )
        for text in texts
    ]
    keys = [np.zeros(2, np.uint32)] * len(texts) * config.samples
    return generate_texts(generator, prompts, keys, config)


def test_words_tell_where_they_stand(generator):
    assert generated(generator(), ["", "w5", "w5 w5 w5", "w0"], max_tokens=3) == [
        "w0", " w1 w2 w3", " w3 w4 w5", ""
    ]  # fmt: skip


@pytest.mark.parametrize("count", [7, 10, 17])
def test_where_the_context_is_full_the_last_half_is_read_again(generator, count):
    expected, size, left = [], 2, count  # <s> and a word
    while left:
        if size > WIDTH:
            size = max(WIDTH // 2, WIDTH - left + 1)
        expected.append(f"w{size - 1}")
        size, left = size + 1, left - 1
    found = generated(generator(), ["w5"], max_tokens=count)
    assert found == [" " + " ".join(expected)]
    assert generated(generator("text_to_text"), ["w5"], max_tokens=count) == [
        " ".join(expected[: WIDTH - 1])
    ]


def test_many_prompts_of_different_lengths_keep_their_order(generator):
    texts = [" ".join(["w5"] * (1 + i % 6)) for i in range(2 * ROWS + 3)]
    found = generated(generator(), texts, max_tokens=1, samples=2)
    assert found == [f" w{1 + i % 6}" for i in range(2 * ROWS + 3) for _ in range(2)]
    assert generated(generator(), texts, max_tokens=1, beam=2) == found[::2]
    assert generated(generator(), texts, max_tokens=0, beam=1) == [""] * len(texts)


def test_beams_have_room_after_a_long_prompt(generator):
    text = " ".join(["w5"] * (WIDTH - 1))
    assert generated(generator(), [text], max_tokens=4, beam=1) == [" w4 w5 w6 w7"]


@pytest.mark.parametrize("beam", [0, 1])
def test_stops(generator, beam):
    texts, stop = ["w5", "w5 w5 w5"], ("w4 w5", "w3")
    found = generated(generator(), texts, max_tokens=5, beam=beam, stop=stop)
    assert found == [" w1 w2 ", " "]


def test_penalties_see_the_prompt_only_where_it_is_continued(generator):
    how = {"max_tokens": 2, "repetition_penalty": 100.0}
    assert generated(generator(), ["w1"], **how) == [" w2 w3"]
    assert generated(generator("text_to_text"), ["w1"], **how) == ["w1 w2"]
