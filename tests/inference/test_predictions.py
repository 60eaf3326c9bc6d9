"""Answers of a model over pieces of words whose tagger and classifiers share one pass."""

import dataclasses
import json
from functools import partial

import jax
import numpy as np
import pytest

from mtljax import metrics
from mtljax.data import Group, Layout, Shape, TokenizerSettings
from mtljax.data.encoding.overlapping_chunks import chunks
from mtljax.data.tokenizers import train_tokenizer
from mtljax.errors import UserError
from mtljax.inference import Run
from mtljax.inference.prompts import affix_table
from mtljax.kinds import Output
from mtljax.modules import DecoderConfig, EncoderConfig, HeadsConfig, encode, predict
from mtljax.presets import BatchConfig, Config
from mtljax.tasks import Task
from mtljax.training import build_model
from mtljax.training.evaluation import Evaluator
from mtljax.training.model import initial_params
from mtljax.training.persistence import run_directory
from tests.tiny_models import random_params

LENGTH = 16
INPUTS = dict(dataset="made_up", inputs="tokens")
TASKS = (
    Task("tags", kind="tagging", targets="tags", **INPUTS),
    Task("topic", kind="classification", targets="topic", **INPUTS),
    Task("mood", kind="classification", targets="mood", loss="hinge", **INPUTS),
    Task("score", kind="regression", targets="score", **INPUTS),
)


@pytest.fixture(scope="module", params=["bpe", "character"])
def run(request, tmp_path_factory):
    settings = TokenizerSettings(request.param, vocab_size=270)
    tokenizer = train_tokenizer([["the cat and the hat", "the mat"]], settings)
    layout = Layout(
        groups=(Group("made_up", TASKS, "tokens", "bidirectional", None, False),),
        outputs={
            "tags": Output(3, ("O", "B-x", "I-x")),
            "topic": Output(3, ("a", "b", "c")),
            "mood": Output(2, ("bad", "good")),
            "score": Output(1),
        },
        shapes={"made_up": Shape(rows=4, row_length=LENGTH, max_segments=3, affixes=0)},
        vocab_size=tokenizer.vocab_size,
        affix_buckets=0,
    )
    config = Config(
        tokenizer=settings,
        batch=BatchConfig(row_length=LENGTH),
        encoder=EncoderConfig("transformer", embedding=8, features=8, heads=2, feed_forward=8),
        heads=HeadsConfig(pooling=("mean",)),
    )
    model = build_model(config, layout)
    params = random_params(model)
    directory = tmp_path_factory.mktemp("answers")
    return Run(directory, config, TASKS, tokenizer, layout, model, params, 0)


@pytest.fixture(scope="module")
def passes(run):
    """From one text that fits a row to the raw predictions."""

    @jax.jit
    def read(params, batch):
        network = run.model.network
        features = encode(network, params["shared"], "made_up", batch)
        return {
            task.name: predict(network, params["heads"][task.name], task.name, features, 1)[0]
            for task in TASKS
        }

    def of(words):
        tokens = run.tokenizer.encode([words], LENGTH).tokens
        row = np.pad(tokens, (0, LENGTH - len(tokens)))[None]
        batch = {
            "tokens": row,
            "segments": (np.arange(LENGTH) < len(tokens)).astype(np.int32)[None],
            "positions": np.arange(LENGTH, dtype=np.int32)[None],
        }
        return {name: np.asarray(found) for name, found in read(run.params, batch).items()}

    return of


WORDS = ["the", "Zyx", "cat", "q"]


def test_a_text_that_fits(run, passes):
    answer = run.predict([WORDS])[0]
    raw = passes(WORDS)
    firsts = np.flatnonzero(run.tokenizer.encode([WORDS]).words >= 0)
    assert len(firsts) == len(WORDS)
    assert max(np.diff(firsts)) > 1  # some word has several pieces
    names = np.array(["O", "B-x", "I-x"])
    assert answer["tags"] == {
        "words": WORDS,
        "tags": names[raw["tags"][firsts].argmax(-1)].tolist(),
    }
    shares = np.exp(raw["topic"][0]) / np.exp(raw["topic"][0]).sum()
    np.testing.assert_allclose(list(answer["topic"]["probabilities"].values()), shares, rtol=1e-5)
    assert answer["topic"]["label"] == "abc"[shares.argmax()]
    good = 1 / (1 + np.exp(-raw["mood"][0, 0]))
    assert answer["mood"]["probabilities"]["good"] == pytest.approx(good, rel=1e-5)
    assert answer["mood"]["label"] == ("good" if good > 0.5 else "bad")
    assert answer["score"]["value"] == pytest.approx(raw["score"][0, 0], rel=1e-4, abs=1e-5)


def test_a_long_text_is_tagged_whole_and_classified_by_its_beginning(run):
    words = WORDS * 40
    answer = run.predict([["unrelated"], words])[1]
    assert answer["tags"]["words"] == words
    assert len(answer["tags"]["tags"]) == len(words)
    start = run.predict([words[:9]])[0]
    for task in ("topic", "mood"):
        for name, share in answer[task]["probabilities"].items():
            assert start[task]["probabilities"][name] == pytest.approx(share, rel=1e-5)
    assert start["score"]["value"] == pytest.approx(answer["score"]["value"], abs=1e-5)


def test_a_text_is_split_into_words(run):
    answer = run.predict(["Don't stop, cat"], tasks=["tags"])[0]
    assert answer["tags"]["words"] == ["Don't", "stop", ",", "cat"]


def test_a_word_longer_than_a_row_has_a_tag(run):
    words = ["the", "zq" * 50_000, "cat", ""]
    answer = run.predict([words])[0]
    assert answer["tags"]["words"] == words
    assert len(answer["tags"]["tags"]) == 4


def test_each_chunk_is_tagged_at_the_first_pieces_of_its_words(run, passes):
    words = WORDS * 4
    whole = run.tokenizer.encode([words])
    gap = int(run.tokenizer.settings.kind == "character")
    firsts = np.flatnonzero(whole.words >= 0)
    sizes = np.diff([*firsts, len(whole.tokens) + gap]).tolist()
    parts = chunks(sizes, LENGTH - 1 + gap)
    assert len(parts) > 2
    expected = []
    for begin, end, first, last in parts:
        tokens = run.tokenizer.encode([words[begin:end]])
        assert len(tokens.tokens) <= LENGTH
        at = np.flatnonzero(tokens.words >= 0)[first - begin : last - begin]
        expected += passes(words[begin:end])["tags"][at].argmax(-1).tolist()
    names = np.array(["O", "B-x", "I-x"])
    assert run.predict([words])[0]["tags"]["tags"] == names[expected].tolist()


def test_pieces_of_words_have_no_affixes(run):
    assert affix_table(run.tokenizer).shape == (run.tokenizer.vocab_size, 0)


@pytest.fixture
def whole(make, plain, tasks, tmp_path):
    """A model of a task of one input and two others, and its data."""
    exact = dataclasses.replace(tasks["sets"], metrics=("exact_match",))
    chosen = (tasks["number"], exact, tasks["pair"])
    model, data = make(plain, chosen)
    params = random_params(model, 1.0)
    return Run(tmp_path, plain, chosen, data.tokenizer, data.layout, model, params, 0), data


def test_answers_have_the_metrics_of_the_evaluation(whole, source):
    run, data = whole
    expected = Evaluator(run.model, data)(run.params, "test")
    rows = source.splits["test"]
    answers = run.predict([{"words": row["words"], "text": row["text"]} for row in rows])
    grades, genres = (source.features[name].classes for name in ("grade", "genres"))
    hits = [a["pair"]["label"] == grades[r["grade"]] for a, r in zip(answers, rows, strict=True)]
    assert np.mean(hits) == pytest.approx(expected["pair"]["accuracy"])
    right, weights = [], []
    for answer, row in zip(answers, rows, strict=True):
        shares = answer["sets"]["probabilities"]
        assert list(shares) == list(genres)
        assert answer["sets"]["labels"] == [name for name in genres if shares[name] > 0.5]
        if row["genres"] is not None:
            right.append(answer["sets"]["labels"] == [genres[i] for i in row["genres"]])
            weights.append(row["alpha"])
    assert np.average(right, weights=weights) == pytest.approx(expected["sets"]["exact_match"])


@pytest.mark.parametrize(("kind", "row_length"), [("words", 5), ("bpe", 8), ("character", 9)])
def test_long_texts_are_measured_as_they_are_tagged(
    make, plain, tasks, source, tmp_path, kind, row_length
):
    """Texts of several passages: the metrics are those of the answers to whole texts."""
    topic = Task("topic", "tiny", "classification", "words", "grade")
    chosen = (tasks["tags"], topic)
    encoder = dataclasses.replace(plain.encoder, kind="transformer", heads=2, feed_forward=8)
    settings = dataclasses.replace(plain.tokenizer, kind=kind)
    if kind != "words":
        settings = TokenizerSettings(kind, vocab_size=262)
    batch = dataclasses.replace(plain.batch, tokens=4 * row_length, row_length=row_length)
    config = dataclasses.replace(plain, encoder=encoder, tokenizer=settings, batch=batch)
    model, data = make(config, chosen)
    params = random_params(model, 1.0)
    run = Run(tmp_path, config, chosen, data.tokenizer, data.layout, model, params, 0)
    rows = source.splits["validation"]
    examples = data.examples["tiny"]["validation"]
    assert len(examples) > len(rows) and examples.lengths.max() <= row_length
    assert len(data.examples["tiny"]["train"]) == len(source.splits["train"])

    found = Evaluator(model, data)(params, "validation")
    answers = run.predict([row["words"] for row in rows])
    names, grades = source.features["tags"].classes, source.features["grade"].classes
    tags = [answer["tags"]["tags"] for answer in answers]
    truth = [[names[tag] for tag in row["tags"]] for row in rows]
    assert [len(answer) for answer in tags] == [len(row["words"]) for row in rows]
    hits = [a == b for answer, label in zip(tags, truth, strict=True)
            for a, b in zip(answer, label, strict=True)]  # fmt: skip
    assert found["tags"]["accuracy"] == pytest.approx(np.mean(hits), abs=1e-6)
    spans = metrics.compute(metrics.span_f1(tags, truth))
    assert 0 < found["tags"]["span_f1"] == pytest.approx(float(spans))
    right = [a["topic"]["label"] == grades[r["grade"]] for a, r in zip(answers, rows, strict=True)]
    assert found["topic"]["accuracy"] == pytest.approx(np.mean(right))


@pytest.fixture(params=[("lstm", 0), ("transformer", 0), ("lstm", 1)])
def replies(request, make, plain, tasks, tmp_path):
    kind, layers = request.param
    encoder = dataclasses.replace(plain.encoder, kind=kind, heads=2, feed_forward=8)
    decoder = DecoderConfig(layers, heads=2, feed_forward=8)
    config = dataclasses.replace(plain, encoder=encoder, decoder=decoder)
    model, data = make(config, (tasks["reply"],))
    first = jax.device_get(jax.jit(lambda: initial_params(model))())
    params = jax.tree.map(lambda p: 4 * p, first)
    return Run(tmp_path, config, model.tasks, data.tokenizer, data.layout, model, params, 0)


ROW = 12  # of the tiny models


def most_probable(run, source, most, read):
    """The words that answer a text, each of the row as it is `read` whole."""
    tokens, table = [*run.tokenizer.encode([source]).tokens, 3], affix_table(run.tokenizer)
    output, answer = run.layout.outputs["reply"], []
    while len(answer) < most:
        row = np.pad(np.array(tokens, np.int32), (0, ROW - len(tokens)))[None]
        batch = {
            "tokens": row,
            "affixes": table[row],
            "segments": (np.arange(ROW) < len(tokens)).astype(np.int32)[None],
            "positions": np.arange(ROW, dtype=np.int32)[None],
        }
        logits = np.array(read(run.params, batch)[0, len(tokens) - 1])
        logits[0] = -np.inf
        if logits.argmax() == 1:
            break
        tokens.append(int(output.ids[logits.argmax()]))
        answer.append(run.tokenizer.pieces[tokens[-1]])
    return " ".join(answer)


def test_text_to_text_answers(replies):
    @jax.jit
    def read(params, batch):
        features = encode(replies.model.network, params["shared"], "tiny", batch)
        head = params["heads"]["reply"]
        return predict(replies.model.network, head, "reply", features, 1).logits()

    best = partial(most_probable, replies, read=read)
    texts = ["w1 w2 w3", "", "w9"]
    expected = [best(text, ROW // 2) for text in texts]
    assert any(expected)
    assert [answer["reply"]["text"] for answer in replies.predict(texts)] == expected
    assert replies.generate(texts, max_tokens=3, temperature=0.0) == [
        best(text, 3) for text in texts
    ]
    # Of a long text the beginning is read that leaves room for the answer.
    long = " ".join(f"w{i % 20}" for i in range(50))
    start, end = long.split()[: ROW // 2 - 1], long.split()[-(ROW - 1 - 3) :]
    expected = best(" ".join(start), ROW // 2)
    assert replies.predict([long]) == [{"reply": {"text": expected}}]
    with pytest.raises(UserError, match="prompt 1: the text has 51 tokens, and the model reads 11"):
        replies.generate([long], max_tokens=3)
    assert replies.generate([long], max_tokens=3, temperature=0.0, too_long="left") == [
        best(" ".join(end), 3)
    ]
    assert replies.generate([{"text": "w9", "label": "w1"}], max_tokens=0, temperature=0.0) == [""]
    for text, message in (("", "the text is empty"), (long, "the text has 51 tokens")):
        with pytest.raises(UserError, match=message):
            replies.check_prompt(text)
    replies.check_prompt(long, too_long="left")
    for option in ("top_p", "temperature", "beam"):
        with pytest.raises(UserError, match=f"{option}: must be "):
            replies.generate(
                ["w9"], **{option: {"top_p": 0.0, "temperature": -1.0}.get(option, 99)}
            )


def test_text_to_text_is_written_and_compared(replies, make, tmp_path, monkeypatch):
    _, data = make(replies.config, replies.tasks)
    run_directory.write_run(tmp_path, replies.config, replies.tasks, data)
    plain = replies.evaluate("test")["reply"]
    said = []
    monkeypatch.setattr("mtljax.inference.measured.bleu_note", lambda sources: f"of {len(sources)}")
    found = replies.evaluate("test", generate=True, max_tokens=5, say=said.append)["reply"]
    assert plain.items() <= found.items()
    assert 0 < plain["accuracy"] < 1
    lines = [
        json.loads(line)
        for line in (tmp_path / "generated" / "reply-test.jsonl").read_text().splitlines()
    ]
    rows = [row for row in data.sources["tiny"].splits["test"] if row["answer"] is not None]
    assert [line["source"] for line in lines] == list(dict.fromkeys(row["text"] for row in rows))
    assert said == [f"task 'reply': of {len(lines)}"]
    texts, references = ([line[name] for line in lines] for name in ("text", "references"))
    sources = [line["source"] for line in lines]
    assert texts == replies.generate(sources, max_tokens=5, temperature=0.0)
    assert found["bleu"] == metrics.bleu(texts, references, lowercase=True)
    assert found["distinct_1"] == metrics.distinct_n(texts, 1)
    with pytest.raises(UserError, match="beam: must be in"):
        replies.evaluate("test", generate=True, beam=10_000)


def test_texts_go_to_the_tasks_that_can_read_them(whole):
    run, _ = whole
    pair = {"words": ["w1"], "text": "w2 w3"}
    found = run.predict(["w2 w3", pair, {"words": ["w1"], "text": "w9"}])
    assert [list(answer) for answer in found] == [["number", "sets"], *[[*found[1]]] * 2]
    assert list(found[1]) == ["number", "sets", "pair"]
    assert found[0]["number"] == pytest.approx(found[1]["number"], abs=1e-5)
    assert found[1]["pair"] != found[2]["pair"]
    with pytest.raises(UserError, match="task 'pair': text 'w2 w3' has no 'words' and 'text'"):
        run.predict(["w2 w3"], tasks=["pair"])
    with pytest.raises(UserError, match="has no 'text'"):
        run.predict([{"words": ["w1"]}])
    with pytest.raises(UserError, match="task 'number': text {'title': 'x'} has no 'text'"):
        run.predict([pair, {"title": "x"}])
