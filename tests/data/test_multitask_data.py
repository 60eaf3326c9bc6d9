import json
import subprocess
import sys

import numpy as np
import pytest

import mtljax.data.catalogue.load_sources as sources
from mtljax.data import (
    DataOptions,
    Layout,
    TokenizerSettings,
    all_causal,
    input_batches,
    load_data,
    unpack,
)
from mtljax.data.tokenizers import split_words
from mtljax.errors import UserError
from mtljax.tasks import DEFAULT_TASKS, Task


@pytest.fixture(scope="module")
def data():
    return load_data(DEFAULT_TASKS, DataOptions(attention=all_causal))


def test_default_tasks(data):
    outputs = data.outputs
    assert {name: outputs[name].num_classes for name in outputs} == {
        "movie_sentiment": 2,
        "movie_casepunct": 14,
        "movie_lm": 8887,
        "amazon_sentiment": 2,
    }
    assert outputs["movie_lm"].ids[:2].tolist() == [1, 3]
    assert data.layout.group_of("movie_lm").name == "movie_sentiment"
    assert [task.name for task in data.layout.group("movie_sentiment").tasks] == [
        "movie_sentiment",
        "movie_lm",
    ]
    for group in data.groups:
        assert data.splits(group.name) == ("train", "validation", "test")
    with pytest.raises(KeyError):
        data.layout.group("none")
    with pytest.raises(KeyError):
        data.layout.group_of("none")


def test_the_test_split_counts_what_the_perplexity_is_taken_over(data):
    batches = list(data.evaluation_batches("movie_sentiment", "test"))
    counted = sum(batch["weights"]["movie_lm"].sum() for batch in batches)
    unknown = sum(
        ((batch["targets"]["movie_lm"] == 0) & (batch["weights"]["movie_lm"] > 0)).sum()
        for batch in batches
    )
    # All words and marks of the test sentences, and one end mark for each.
    assert counted == 22_942 + 1_064
    assert unknown / counted == pytest.approx(0.069, abs=5e-4)
    assert sum(batch["weights"]["movie_sentiment"].sum() for batch in batches) == 1_064


def test_every_tag_of_casepunct_is_counted(data):
    batches = list(data.evaluation_batches("movie_casepunct", "test"))
    rows = data.sources["movie_casepunct"].splits["test"]
    counted = sum(batch["weights"]["movie_casepunct"].sum() for batch in batches)
    assert counted == sum(len(row["tags"]) for row in rows)
    for batch in batches[:2]:
        for example, tags in unpack(batch, batch["targets"]["movie_casepunct"]):
            assert tags[1:].tolist() == rows[example]["tags"]


def test_the_tokenizer_sees_training_text_only(data):
    train = {
        word.lower()
        for name in ("movie_sentiment", "amazon_sentiment")
        for row in data.sources[name].splits["train"]
        for word in split_words(row["text"])
    } | {word for row in data.sources["movie_casepunct"].splits["train"] for word in row["tokens"]}
    assert set(data.tokenizer.pieces[4:]) <= train


def test_the_same_text_is_counted_once():
    one = load_data(DEFAULT_TASKS[:1])
    both = load_data([DEFAULT_TASKS[0], DEFAULT_TASKS[2]])
    # With twice the counts, every word would be seen twice.
    assert one.tokenizer.pieces == both.tokenizer.pieces


def test_loading_again_gives_the_same(data):
    again = load_data(DEFAULT_TASKS, DataOptions(attention=all_causal), tokenizer=data.tokenizer)
    assert again.layout.to_json() == data.layout.to_json()
    one, two = (d.training_batches(3, ahead=0) for d in (data, again))
    np.testing.assert_equal(next(one), next(two))


def test_layout_survives_json(data):
    content = json.loads(json.dumps(data.layout.to_json()))
    layout = Layout.from_json(content, DEFAULT_TASKS)
    assert layout.to_json() == data.layout.to_json()
    assert layout.groups == data.groups
    assert layout.shapes == data.layout.shapes
    assert [task.name for task in layout.tasks] == [task.name for task in DEFAULT_TASKS]


def test_new_texts(data):
    odd = ["good film", "", "\x00\ud800", "word " * 300_000, ["a", "list"], "x" * 10**6]
    texts = odd * 40
    seen = []
    for batch in input_batches(texts, "movie_sentiment", data.layout, data.tokenizer):
        assert batch["tokens"].shape == (data.layout.shapes["movie_sentiment"].rows, 64)
        assert batch["targets"] == {}
        seen += [example for example, _ in unpack(batch, batch["tokens"])]
    assert sorted(seen) == list(range(len(texts)))


def test_evaluation_in_larger_batches(data):
    (batch, *_) = data.evaluation_batches("amazon_sentiment", "test", rows=33)
    assert batch["tokens"].shape == (33, 64)


def test_without_affixes(data):
    settings = TokenizerSettings(prefixes=(), suffixes=(), shape=False)
    plain = load_data(DEFAULT_TASKS[-1:], tokenizer=settings)
    assert "affixes" not in next(plain.training_batches(0, ahead=0))["amazon_sentiment"]
    assert plain.layout.affix_buckets == 0
    assert plain.layout.shapes["amazon_sentiment"].affixes == 0


def test_every_character_is_read_and_is_a_class():
    settings = TokenizerSettings("character", lowercase=False)
    data = load_data([Task("lm", "amazon_sentiment", "language_model", "text")], tokenizer=settings)
    tokenizer, output = data.tokenizer, data.outputs["lm"]
    assert output.ids is not None
    assert output.ids.tolist() == [1, 3, *range(4, tokenizer.vocab_size)]
    texts = [row["text"] for row in data.sources["amazon_sentiment"].splits["test"]]
    counted, seen = 0, ""
    for batch in data.evaluation_batches("amazon_sentiment", "test"):
        counted += batch["weights"]["lm"].sum()
        seen += tokenizer.decode(batch["tokens"].reshape(-1).tolist())
    assert counted == sum(len(text) + 1 for text in texts)
    rare = set("".join(texts)) - set(tokenizer.pieces)
    expected = sorted("\ufffd" if c in rare else c for text in texts for c in text)
    assert sorted(seen) == expected


def test_moby_dick_is_read_whole():
    task = Task("moby", "moby_dick", "language_model", "text")
    data = load_data([task])
    assert data.outputs["moby"].num_classes == 9214
    words = sum(
        len(split_words(row["text"])) + 1 for row in data.sources["moby_dick"].splits["test"]
    )
    batches = list(data.evaluation_batches("moby_dick", "test"))
    assert sum(batch["weights"]["moby"].sum() for batch in batches) == words


def test_snips_reads_one_input_for_two_tasks(tfds_dir):
    tasks = [
        Task("intent", "snips", "classification", "tokens", "label"),
        Task("slots", "snips", "tagging", "tokens", "tags"),
    ]
    data = load_data(tasks, data_dir=tfds_dir)
    assert [group.name for group in data.groups] == ["snips"]
    assert data.groups[0].attention == "bidirectional"
    assert data.outputs["slots"].num_classes == 72
    batch = next(data.training_batches(0, ahead=0))["snips"]
    assert set(batch["targets"]) == {"intent", "slots"}
    assert (batch["segments"] > 0).mean() > 0.9


@pytest.mark.parametrize(
    ("tasks", "arguments", "message"),
    [
        ([], {}, "no tasks"),
        (DEFAULT_TASKS[:1] * 2, {}, "duplicate task name 'movie_sentiment'"),
        (DEFAULT_TASKS, {"options": DataOptions(row_length=1)}, "row_length 1"),
        (DEFAULT_TASKS, {"options": DataOptions(batch_tokens=8)}, "batch_tokens 8"),
        ([Task("t", "movie", "language_model", "text")], {}, "task 't': unknown data set 'movie'"),
        (DEFAULT_TASKS, {"data_dir": "/does/not/exist"}, "no such directory"),
    ],
)
def test_bad_arguments(tasks, arguments, message):
    with pytest.raises(UserError, match=message):
        load_data(tasks, **arguments)


def test_a_bad_label_is_found_before_training(monkeypatch, small_source):
    source = small_source(validation=[{"text": "a", "label": 7}])
    monkeypatch.setattr(sources, "load_source", lambda name, data_dir, **_: source)
    with pytest.raises(UserError, match="split 'validation', row 0: label 7 is not in 0..1"):
        load_data([Task("c", "small", "classification", "text", "label")])


def test_import_is_cheap():
    code = (
        "import sys, mtljax.data, mtljax.tasks\n"
        "heavy = {'grain', 'tensorflow_datasets', 'tokenizers', 'jax', 'flax'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
