import numpy as np
import pytest

from mtljax.data import Feature, Source, TokenizerSettings
from mtljax.data.encoding.examples import concatenated, read_examples
from mtljax.data.encoding.input_groups import input_groups
from mtljax.data.encoding.outputs import task_output
from mtljax.data.tokenizers import train_tokenizer
from mtljax.tasks import Task

RNG = np.random.default_rng(0)
ROWS = [
    {
        "text": " ".join(RNG.choice(["a", "bc", "def"], n)),
        "words": RNG.choice(["a", "bc", "def"], n).tolist(),
        "other": " ".join(RNG.choice(["a", "bc"], m)),
        "tags": [0] * n,
        "y": 0.5,
    }
    for n, m in zip(RNG.integers(0, 12, 40).tolist(), RNG.integers(0, 12, 40).tolist(), strict=True)
]
FEATURES = {
    "text": Feature("text"),
    "other": Feature("text"),
    "words": Feature("tokens"),
    "tags": Feature("tags", ("O", "X")),
    "y": Feature("number"),
}
SOURCE = Source("s", "s", FEATURES, {"train": ROWS, "test": ROWS})
NUMBER = {kind: Task("y", "s", "regression", inputs, "y") for kind, inputs in
          (("one", "text"), ("pair", ("text", "other")), ("list", "words"))}  # fmt: skip
TAGS = Task("tags", "s", "tagging", "words", "tags")


def cut(tasks, split="train", kind="words", row_length=8):
    (group,) = input_groups(tasks, {"s": SOURCE})
    texts = [row["text"] for row in ROWS]
    tokenizer = train_tokenizer([texts], TokenizerSettings(kind, vocab_size=260, min_count=1))
    outputs = {task.name: task_output(task, SOURCE, tokenizer) for task in tasks}
    blocks = read_examples(group, split, {"s": SOURCE}, tokenizer, outputs, row_length)
    return concatenated(blocks).cut, tokenizer


@pytest.mark.parametrize("kind", ["words", "bpe"])
@pytest.mark.parametrize("inputs", NUMBER)
def test_what_is_cut_is_counted(inputs, kind):
    found, tokenizer = cut([NUMBER[inputs]], kind=kind)
    names = NUMBER[inputs].parts
    full = [sum(len(tokenizer.encode([row[name]]).tokens) - 1 for name in names) for row in ROWS]
    lost = [max(0, size - (8 - len(names))) for size in full]
    assert found == {
        "texts": 40,
        "cut_texts": sum(size > 0 for size in lost),
        "words": sum(full),
        "cut_words": sum(lost),
    }
    assert 0 < found["cut_texts"] < 40


def test_taggers_lose_something_in_training_alone():
    sizes = [len(row["words"]) for row in ROWS]
    lost = sum(max(0, size - 7) for size in sizes)
    train, _ = cut([TAGS])
    assert train["cut_words"] == lost
    assert cut([TAGS], "test")[0] == {}
    # The other tasks read the first passage.
    both, _ = cut([TAGS, NUMBER["list"]], "test")
    assert both["cut_words"] == lost and both["words"] == sum(sizes)


def test_language_models_lose_nothing():
    assert cut([Task("lm", "s", "language_model", "text")])[0] == {}


def test_texts_that_fit():
    found, _ = cut([NUMBER["one"]], row_length=16)
    assert found["cut_texts"] == found["cut_words"] == 0
