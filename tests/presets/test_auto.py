"""What `auto` chooses, and that it is what a run of it has."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.cli.train import begun, read_options
from mtljax.data.tokenizers.word_splitting import split_words
from mtljax.kinds import KINDS
from mtljax.presets import (
    TaskFacts,
    check,
    choose,
    dump_config,
    preset,
    read_automatic,
    reasons_of,
    task_facts,
)
from mtljax.tasks import DEFAULT_TASKS, parse_tasks


def facts(kind="classification", texts=1000, words=20_000, longest=40, **more):
    return TaskFacts("a", kind, "set", texts, words, longest, **more)


TAGS = facts("tagging", classes=5, chains=True)
SENTIMENT = {"dataset": "amazon_sentiment", "kind": "classification", "inputs": "text"}


@given(
    st.lists(
        st.builds(
            TaskFacts,
            name=st.sampled_from("abcdef"),
            kind=st.sampled_from(sorted(KINDS)),
            reads=st.sampled_from("xyz"),
            texts=st.integers(0, 10**8),
            words=st.integers(0, 10**10),
            longest=st.integers(0, 10**6),
            parts=st.integers(1, 3),
            classes=st.integers(0, 10**5),
            scored=st.booleans(),
            chains=st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_tasks_have_a_configuration(tasks):
    found = choose(tasks)
    check(found.config)
    assert 400 <= found.config.steps <= 6000
    assert 64 <= found.config.batch.row_length <= 512
    assert 11 <= found.config.steps / found.config.evaluate_every <= 12
    assert found.config.stopping.patience == 5 * any(task.scored for task in tasks)
    assert len(list(reasons_of(found, found.config))) == len(found.reasons)


@pytest.mark.parametrize(
    ("tasks", "kind"),
    [
        ([facts(), facts("regression"), facts("multilabel")], "linear"),
        ([facts(texts=200_000)], "lstm"),
        ([facts(parts=2)], "lstm"),
        ([facts(), TAGS], "lstm"),
        ([facts(), facts("language_model")], "lstm"),
    ],
)
def test_the_encoder_follows_the_kinds(tasks, kind):
    assert choose(tasks).config.encoder.kind == kind
    assert choose(tasks, {"encoder.kind": "transformer"}).config.encoder.kind == "lstm"
    assert choose(tasks, {"encoder.layers": 2}).config.encoder.kind == "lstm"


def test_tags_are_chosen_together_and_few_words_are_spelled():
    assert choose([TAGS]).losses == {"a": "crf"}
    assert choose([TAGS]).config.tokenizer.characters == 12
    assert choose([TAGS._replace(words=10**6)]).config.tokenizer.characters == 0
    assert choose([TAGS._replace(chains=False)]).losses == {}
    assert choose([TAGS._replace(classes=500)]).losses == {}
    writes = choose([TAGS, facts("language_model")])
    assert writes.losses == {} and writes.config.encoder == preset("small").config.encoder


@pytest.mark.parametrize(
    ("longest", "kind", "expected"),
    [(40, "words", 64), (63, "words", 64), (64, "words", 96), (100, "byte", 512), (90, "bpe", 160)],
)
def test_rows_hold_long_texts(longest, kind, expected):
    found = choose([facts(longest=longest)], {"tokenizer.kind": kind})
    assert found.config.batch.row_length == expected
    # Language models read long texts in parts.
    alone = choose([facts("language_model", longest=longest)], {"tokenizer.kind": kind})
    assert alone.config.batch.row_length == 64


def test_passes_over_the_data():
    of_classes = facts("multilabel", words=200_000, classes=20)
    found = choose([facts(words=200_000), of_classes]).config
    assert found.steps == round(15 * 200_000 / found.batch.tokens)  # both read the same texts
    small = choose([of_classes], {"batch.tokens": 2048}).config
    assert small.batch.tokens == 2048 and small.steps == round(15 * 200_000 / 2048)


def test_steps_that_are_said_are_done():
    found = choose([facts()], {"steps": 77})
    assert (found.config.steps, found.config.stopping.patience) == (77, 0)
    assert not any("passes" in reason.text for reason in found.reasons)
    assert choose([facts()], {"epochs": 3.0}).config.stopping.patience == 0


def test_epochs_are_validated_twelve_times():
    found = choose([facts(words=409_600)], {"epochs": 6.0})
    assert found.config.evaluate_every == 6 * 409_600 / 4096 / 12
    assert choose([facts(words=0)], {"epochs": 1.0}).config.evaluate_every == 1


def test_rows_that_are_said_are_filled():
    found = choose([TAGS], {"batch.row_length": 2048}).config.batch
    assert (found.row_length, found.tokens) == (2048, 16 * 2048)
    assert choose([TAGS], {"batch.row_length": 32}).config.batch.tokens == 1024
    both = choose([TAGS], {"batch.row_length": 256, "batch.tokens": 512}).config.batch
    assert (both.row_length, both.tokens) == (256, 512)


def test_patience_is_a_share_of_the_steps():
    found = choose([facts()], {"evaluate_every": 10}).config
    assert (found.steps, found.evaluate_every, found.stopping.patience) == (400, 10, 17)


def test_a_pretrained_encoder_is_fine_tuned():
    found = choose([facts()], {"encoder.pretrained": "model"}).config
    assert found.optimizer == preset("finetune").config.optimizer and found.preset == "auto"


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"text": "one, two " * int(rng.integers(1, 30)), "y": f"c{i % 3}", "z": float(i)}
        for i in range(120)
    ]
    rows += [{"text": "end", "y": None, "z": None}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "b.conll").write_text("the O\ncat I-x\n\n" * 4)
    source = {"path": "a.jsonl", "splits": {"train": "a.jsonl", "validation": "a.jsonl[120:]"}}
    tags = {"path": ".", "splits": {"train": "b.conll", "validation": "b.conll"}}
    tags["features"] = {"words": 0, "tags": 1}
    content = {
        "sources": {"a": source, "b": tags},
        "tasks": {
            "y": {"dataset": "a", "kind": "classification", "inputs": "text", "targets": "y"},
            "z": {"dataset": "a", "kind": "regression", "inputs": "text", "targets": "z"},
            "t": {
                "dataset": "b",
                "kind": "tagging",
                "inputs": "words",
                "targets": "tags",
                "scheme": "bio",
            },
        },
    }
    return rows, parse_tasks(content, tmp_path)


def test_what_is_known_of_tasks(files):
    rows, tasks = files
    y, z, t = task_facts(tasks)
    lengths = [len(split_words(row["text"])) for row in rows]
    assert (y.texts, y.words, y.classes, y.parts) == (121, sum(lengths), 3, 1)
    assert y.longest == np.ceil(np.quantile(lengths, 0.99))
    assert (z.classes, z.reads, z.scored, y.scored) == (0, y.reads, False, False)
    # An `I-x` that no sequence of the scheme has would be refused.
    assert (t.texts, t.words, t.scored, t.chains) == (4, 8, True, False)
    assert [
        task_facts([dataclasses.replace(tasks[2], scheme=name)])[0].chains
        for name in ("none", "io")
    ] == [True, True]


def test_what_is_said_wins():
    tasks = parse_tasks({"tasks": {"a": SENTIMENT | {"targets": "label"}}}, "/")
    chosen, same, notes = read_automatic("auto", tasks, None)
    assert same == tasks and chosen.encoder.kind == "linear" and chosen.stopping.patience
    said = {"preset": "auto", "encoder": {"embedding": 6, "features": 6}, "seed": 3}
    config, _, fewer = read_automatic(said, tasks, None)
    assert (config.encoder.embedding, config.seed) == (6, 3)
    assert config.batch == chosen.batch and config.steps == chosen.steps
    assert len(fewer) == len(notes) - 1 and all(note.startswith("auto: ") for note in notes)
    # What a run keeps is the run repeated.
    assert read_automatic(dump_config(config), tasks, None)[0] == config
    assert read_automatic(config, tasks, None) == (config, tasks, ())


def test_the_command_with_nothing_but_tasks(tmp_path):
    path = tmp_path / "tasks.yaml"
    path.write_text(
        "tasks: {a: {dataset: us_address, kind: tagging, inputs: tokens, targets: tags}}"
    )
    options, tasks, notes = begun(["--tasks", str(path)])
    assert options.config.preset == "auto" and tasks[0].loss == "crf"
    assert options.config == choose(_facts(path)).config
    options, _, fewer = begun(
        ["--tasks", str(path), "--batch.tokens", "512", "--encoder.dropout=0"]
    )
    assert (options.config.batch.tokens, options.config.encoder.dropout) == (512, 0)
    assert len(fewer) == len(notes) - 1
    assert read_options(["--tasks", str(path), "--preset", "small"])[0].config == preset("small")[0]
    assert read_options([])[1] == DEFAULT_TASKS
    # A run that was begun with another preset goes on with it.
    (tmp_path / "config.yaml").write_text(dump_config(preset("linear").config))
    again = read_options(["--tasks", str(path), "--run-dir", str(tmp_path)])[0].config
    assert again.preset == "linear"
    # One of `auto` goes on to more steps, evaluated as often as before.
    short = ["--tasks", str(path), "--steps", "24", "--run-dir", str(tmp_path), "--preset", "auto"]
    (tmp_path / "config.yaml").write_text(dump_config(read_options(short)[0].config))
    longer = read_options(["36" if word == "24" else word for word in short])[0].config
    assert (longer.steps, longer.evaluate_every) == (36, 24 / 12)


def _facts(path):
    return task_facts(parse_tasks(path.read_text(), "/"))
