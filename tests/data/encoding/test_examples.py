import dataclasses

import numpy as np
import pytest

from mtljax.data import Feature, Source, TokenizerSettings, all_causal
from mtljax.data.encoding.examples import concatenated, encode_inputs, read_examples
from mtljax.data.encoding.input_groups import input_groups
from mtljax.data.encoding.outputs import task_output
from mtljax.data.tokenizers import train_tokenizer
from mtljax.errors import UserError
from mtljax.tasks import Task
from tests.pretrained.test_families import GOLDEN

PLAIN = TokenizerSettings(min_count=1, prefixes=(), suffixes=(), shape=False)


def read(tasks, source, split="train", row_length=16, settings=PLAIN, attention=all_causal):
    sources = {source.name: source}
    (group,) = input_groups(tasks, sources, attention)
    texts = [row[name] for row in source.splits["train"] for name in group.parts]
    tokenizer = train_tokenizer([texts], settings)
    outputs = {task.name: task_output(task, source, tokenizer) for task in tasks}
    examples = concatenated(read_examples(group, split, sources, tokenizer, outputs, row_length))
    return examples, tokenizer, outputs


def next_words(examples, tokenizer, output):
    return [tokenizer.pieces[output.ids[i]] for i in examples.targets["lm"]]


def test_three_kinds_share_one_reading(small_source):
    tasks = [
        Task("sentiment", "small", "classification", "text", "label"),
        Task("score", "small", "regression", "text", "y"),
        Task("lm", "small", "language_model", "text"),
    ]
    examples, tokenizer, outputs = read(tasks, small_source())
    words = [tokenizer.pieces[i] for i in examples.tokens]
    assert words == "<s> a good film <s> a bad film <s> good <s>".split()
    assert examples.starts.tolist() == [0, 4, 8, 10, 11]
    assert examples.rows.tolist() == [0, 1, 2, 3]
    assert examples.targets["sentiment"].tolist() == [1, 0, 0, 0]
    assert examples.weights["sentiment"].tolist() == [1, 1, 0, 0]
    # Numbers in deviations, 1.5, from the mean, 0.5, of 2 and -1.
    assert examples.targets["score"].tolist() == [1, -1, 0, 0]
    assert examples.weights["score"].tolist() == [1, 1, 0, 0]
    following = next_words(examples, tokenizer, outputs["lm"])
    assert following == "a good film </s> a bad film </s> good </s> </s>".split()
    assert examples.weights["lm"].tolist() == [1] * 11
    assert {v.dtype for v in examples.weights.values()} == {np.dtype(np.float32)}
    assert examples.targets["score"].dtype == np.float32


def test_tags_stand_at_words(small_source):
    examples, *_ = read([Task("ner", "small", "tagging", "words", "tags")], small_source())
    assert examples.targets["ner"].tolist() == [0, 0, 1, 0, 0, 0, 2, 0, 0, 1, 0]
    assert examples.weights["ner"].tolist() == [0, 1, 1, 1, 0, 1, 1, 1, 0, 1, 0]


def test_tags_stand_at_first_pieces():
    rows = [{"words": ["unbelievable", "", "xyz"], "tags": [2, 1, 1]}]
    features = {"words": Feature("tokens"), "tags": Feature("tags", ("O", "A", "B"))}
    source = Source("s", "s", features, {"train": rows})
    settings = TokenizerSettings(kind="bpe", vocab_size=260)
    task = Task("t", "s", "tagging", "words", "tags")
    examples, tokenizer, _ = read([task], source, settings=settings, row_length=64)
    at = np.flatnonzero(examples.weights["t"])
    assert examples.targets["t"][at].tolist() == [2, 1, 1]
    spelled = tokenizer.decode(examples.tokens.tolist())
    assert at[0] == 1 and len(spelled) > 15


def test_tag_names_in_the_data():
    rows = [{"words": ["a", "b"], "tags": ["Y", "X"]}, {"words": ["c"], "tags": ["X"]}]
    features = {"words": Feature("tokens"), "tags": Feature("tokens")}
    source = Source("s", "s", features, {"train": rows})
    examples, _, outputs = read([Task("t", "s", "tagging", "words", "tags")], source)
    assert outputs["t"].classes == ("X", "Y")
    assert examples.targets["t"].tolist() == [0, 1, 0, 0, 0]


def long_source():
    texts = ["a b c d e f g", "h", "i j k l"]
    rows = [{"text": text, "label": i} for i, text in enumerate(texts)]
    features = {"text": Feature("text"), "label": Feature("label", ("x", "y", "z"))}
    return Source("long", "long", features, {"train": rows})


def test_long_texts_are_cut_off_for_other_kinds():
    tasks = [
        Task("c", "long", "classification", "text", "label"),
        Task("lm", "long", "language_model", "text"),
    ]
    examples, tokenizer, outputs = read(tasks, long_source(), row_length=3)
    words = [tokenizer.pieces[i] for i in examples.tokens]
    assert words == "<s> a b <s> h <s> i j".split()
    # The last position of what is left predicts what came next, not the end.
    following = next_words(examples, tokenizer, outputs["lm"])
    assert following == "a b c h </s> i j k".split()


@pytest.mark.parametrize(("row_length", "max_length"), [(3, None), (9, 3)])
def test_long_texts_are_read_in_chunks_by_language_models(row_length, max_length):
    task = Task("lm", "long", "language_model", "text", max_length=max_length)
    examples, tokenizer, outputs = read([task], long_source(), row_length=row_length)
    words = [tokenizer.pieces[i] for i in examples.tokens]
    following = next_words(examples, tokenizer, outputs["lm"])
    assert words == "<s> a b c d e f g <s> h <s> i j k l".split()
    assert following == "a b c d e f g </s> h </s> i j k l </s>".split()
    assert examples.lengths.tolist() == [3, 3, 2, 2, 3, 2]
    assert examples.rows.tolist() == [0, 0, 0, 1, 2, 2]


@pytest.fixture
def answered():
    rows = [
        {"q": "a b c", "a": "x y", "w": 1.0},
        {"q": "", "a": "", "w": 0.5},
        {"q": "b", "a": None, "w": 1.0},
        {"q": "c b", "a": "x y z x", "w": 2.0},
    ]
    features = {"q": Feature("text"), "a": Feature("text"), "w": Feature("number")}
    return Source("s", "s", features, {"train": rows})


def spelled(examples, tokenizer, output):
    words = [tokenizer.pieces[i] for i in examples.tokens]
    wanted = [tokenizer.pieces[output.ids[i]] for i in examples.targets["t"]]
    weights = examples.weights["t"].tolist()
    return " ".join(
        f"{word}>{target}*{weight:g}" if weight else word
        for word, target, weight in zip(words, wanted, weights, strict=True)
    )


@pytest.mark.parametrize("row_length", [16, 8, 4])
def test_text_to_text(answered, row_length):
    task = Task("t", "s", "text_to_text", "q", "a", weights="w")
    texts = [row["q"] for row in answered.splits["train"]] + ["x y z"]
    tokenizer = train_tokenizer([texts], PLAIN)
    (group,) = input_groups([task], {"s": answered})
    assert (group.parts, group.attention, group.chunked) == (("q", "a"), "causal", False)
    outputs = {"t": task_output(task, answered, tokenizer)}
    # Only words of the texts to be written are classes.
    ids = outputs["t"].ids
    assert ids is not None and {tokenizer.pieces[i] for i in ids[2:]} == {"x", "y", "z"}
    sources = {"s": answered}
    examples = concatenated(read_examples(group, "train", sources, tokenizer, outputs, row_length))
    found = spelled(examples, tokenizer, outputs["t"])
    if row_length >= 8:
        assert found == (
            "<s> a b c </s>>x*1 x>y*1 y></s>*1 <s> </s>></s>*0.5 <s> b </s> "
            "<s> c b </s>>x*2 x>y*2 y>z*2 z>x*2 x></s>*2"
        )
    else:
        # The text that is read makes room first; then the end of the other one does not fit.
        assert found == (
            "<s> </s>>x*1 x>y*1 y></s>*1 <s> </s>></s>*0.5 <s> b </s> <s> </s>>x*2 x>y*2 y>z*2"
        )


def test_text_to_text_has_input_groups_of_its_own(answered):
    source = dataclasses.replace(
        answered, features={**answered.features, "l": Feature("label", ("m", "n"))}
    )
    tasks = [
        Task("t", "s", "text_to_text", "q", "a", references="a"),
        Task("u", "s", "text_to_text", "q", "a", weights="w"),
        Task("pair", "s", "classification", ("q", "a"), "l"),
        Task("lm", "s", "language_model", "q"),
        Task("copy", "s", "text_to_text", "q", "a", rename_words=0.5),
    ]
    groups = input_groups(tasks, {"s": source}, all_causal)
    assert [[task.name for task in group.tasks] for group in groups] == [
        ["t", "u"],
        ["pair"],
        ["lm"],
        ["copy"],
    ]
    assert len({group.name for group in groups}) == 4


def weighted_source(weights):
    rows = [{"text": "a b", "y": 1.0, "w": weight} for weight in weights]
    features = {"text": Feature("text"), "y": Feature("number"), "w": Feature("number")}
    return Source("s", "s", features, {"train": rows})


def test_weights_of_samples():
    tasks = [
        Task("r", "s", "regression", "text", "y", weights="w"),
        Task("lm", "s", "language_model", "text", weights="w"),
    ]
    examples, *_ = read(tasks, weighted_source([0.5, 2, 0]))
    assert examples.weights["r"].tolist() == [0.5, 2, 0]
    assert examples.weights["lm"].tolist() == [0.5] * 3 + [2] * 3 + [0] * 3


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), None])
def test_bad_weights(weight):
    task = Task("r", "s", "regression", "text", "y", weights="w")
    with pytest.raises(UserError, match="task 'r', data set 's', split 'train', row 1: weight"):
        read([task], weighted_source([1.0, weight]))


def test_labels_outside_their_range(small_source):
    source = small_source(validation=[{"text": "a", "label": 1}, {"text": "b", "label": 2}])
    task = Task("c", "small", "classification", "text", "label")
    with pytest.raises(UserError) as error:
        read([task], source, split="validation")
    assert str(error.value) == (
        "task 'c', data set 'small', split 'validation', row 1: label 2 is not in 0..1"
    )


@pytest.mark.parametrize(
    ("tags", "message"), [([0, 9], "label 9 is not in 0..2"), ([0], "1 tags for 2 words")]
)
def test_bad_tags(small_source, tags, message):
    source = small_source(validation=[{"words": ["a", "b"], "tags": tags}])
    with pytest.raises(UserError, match=f"row 0: {message}"):
        read([Task("t", "small", "tagging", "words", "tags")], source, split="validation")


def test_new_inputs_have_no_targets(small_source):
    _, tokenizer, _ = read([Task("r", "small", "regression", "text", "y")], small_source())
    examples = encode_inputs(["a good film", ["film"], ""], tokenizer, 3)
    assert examples.lengths.tolist() == [3, 2, 1]
    assert examples.targets == {}


def test_texts_that_begin_with_no_mark():
    """As T5 reads them: an end mark after each, and an answer that begins with the padding."""
    rows = [{"text": "the fox", "answer": "a dog", "words": ["the", "fox"], "tags": ["B", "O"]}]
    rows += [{"text": "", "answer": "", "words": [""], "tags": ["O"]}]
    texts, tags = Feature("text"), Feature("tags", ("O", "B"))
    features = {"text": texts, "answer": texts, "words": Feature("tokens"), "tags": tags}
    source = Source("s", "s", features, {"train": rows})
    settings = TokenizerSettings(kind="pretrained", file=str(GOLDEN / "t5"))
    task = Task("reply", "s", "text_to_text", "text", "answer")
    separate = lambda task: "separate"  # noqa: E731
    examples, tokenizer, outputs = read([task], source, settings=settings, attention=separate)
    spell = {name: tokenizer.encode([name]).tokens[1:].tolist() for name in ("the fox", "a dog")}
    # The classes of the words; 1 is the end mark, and 0 where nothing is learned.
    answer = outputs["reply"].class_of_id(tokenizer.vocab_size)[spell["a dog"]].tolist()
    before = len(spell["the fox"]) + 1
    assert examples.tokens.tolist() == [*spell["the fox"], 1, 0, *spell["a dog"], 1, 0]
    assert examples.targets["reply"].tolist() == [*[0] * before, *answer, 1, 0, 1]
    assert examples.weights["reply"].tolist() == [*[0] * before, *[1] * len(answer), 1, 0, 1]

    task = Task("tags", "s", "tagging", "words", "tags")
    examples, _, _ = read([task], source, settings=settings)
    pieces = [tokenizer.encode([[word]]).tokens[1:].tolist() for word in ("the", "fox", "")]
    assert examples.tokens.tolist() == [*pieces[0], *pieces[1], 1, *pieces[2], 1]
    at = np.flatnonzero(examples.weights["tags"])
    assert at.tolist() == [0, len(pieces[0]), len(pieces[0] + pieces[1]) + 1]
    assert examples.targets["tags"][at].tolist() == [1, 0, 0]
    # No more than the limit, the end mark among them.
    assert encode_inputs(["the fox"], tokenizer, 3).tokens.tolist() == [*spell["the fox"][:2], 1]
