import pytest

from mtljax.data.tokenizers import TokenizerSettings, train_tokenizer
from mtljax.inference.generated_text import settled, text_after
from mtljax.inference.prompts import read_prompt
from mtljax.tasks import Task

LANGUAGE_MODEL = Task("next", "d", "language_model", "text")


def test_text_after():
    settings = TokenizerSettings(min_count=1, prefixes=(), suffixes=(), shape=False)
    tokenizer = train_tokenizer([[" ".join(f"w{i}" for i in range(9))]], settings)
    prompt = read_prompt(LANGUAGE_MODEL, tokenizer, "w1 w2", 8, 1, "refuse")
    assert text_after(tokenizer, prompt, []) == ""
    assert text_after(tokenizer, prompt, [4, 5]) == " w0 w1"
    empty = read_prompt(LANGUAGE_MODEL, tokenizer, "", 8, 1, "refuse")
    assert text_after(tokenizer, empty, [4, 5]) == "w0 w1"


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
