"""A run that starts from a pretrained model, and needs it no more."""

import dataclasses
import json
import random
import shutil

import jax
import numpy as np
import pytest

from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.modules import EncoderConfig, HeadsConfig
from mtljax.modules.architecture import Architecture
from mtljax.presets import BatchConfig, Config, OptimizerConfig
from mtljax.pretrained import greedy_tokens, load
from mtljax.pretrained.decoder import read_decoder
from mtljax.pretrained.load import open_source
from mtljax.training import train
from mtljax.training.ancestor import common_ancestor
from tests.pretrained.test_families import GOLDEN

TASKS = """
sources:
  texts: {{splits: {{train: {0}, validation: {0}, test: {0}}}}}
tasks:
  mood: {{dataset: texts, kind: classification, inputs: text, targets: mood}}
  same: {{dataset: texts, kind: classification, inputs: [text, other], targets: same}}
  tags: {{dataset: texts, kind: tagging, inputs: words, targets: tags}}
"""


def write_rows(path):
    generator = random.Random(0)
    with path.open("w") as file:
        for _ in range(24):
            a, b = (generator.choice(["fox", "dog", "man"]) for _ in range(2))
            row = {"text": f"the {a} is", "other": f"a {b}", "mood": a, "same": str(a == b)}
            words = ["the", a, "jumps"]
            file.write(json.dumps(row | {"words": words, "tags": ["O", a, "O"]}) + "\n")
    return path


def config(directory, steps):
    return Config(
        steps=steps,
        evaluate_every=1,
        batch=BatchConfig(tokens=72, row_length=24, ahead=0),
        encoder=EncoderConfig(pretrained=str(directory), dropout=0.1),
        heads=HeadsConfig(pooling=("cls", "mean")),
        optimizer=OptimizerConfig(learning_rate=1e-3, average=0.5),
    )


def test_a_run_starts_from_the_model_and_needs_it_no_more(tmp_path):
    directory = shutil.copytree(GOLDEN / "bert", tmp_path / "model")
    rows = write_rows(tmp_path / "rows.jsonl")
    # One pass for two of the tasks.
    tasks = TASKS.format(rows).replace("inputs: text,", "inputs: [text, other],")
    run = tmp_path / "run"
    train(config(directory, 0), tasks, run)
    # The parameters before a step are those of the model; so is their average, which is saved.
    started, model = load_run(run), load(directory)
    assert jax.tree.all(jax.tree.map(np.array_equal, started.params["shared"], model.params))
    assert started.layout.marks.suffix == (5,)
    # It is known as the ancestor of runs that are to be merged.
    found, about = common_ancestor([run], started.params["shared"], None, print)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, model.params))
    assert about["from"] == "pretrained" and about["directory"] == str(directory)

    shutil.rmtree(directory)
    train(config(directory, 1), tasks, run)
    assert (run / "checkpoints" / "1").is_dir()  # whichever of the two is better
    trained = load_run(run)
    answer = trained.predict([{"text": "the fox is", "other": "a dog", "words": ["the", "fox"]}])[0]
    assert list(answer) == ["mood", "same", "tags"] and len(answer["tags"]["tags"]) == 2
    with pytest.raises(UserError, match="no such directory"):
        train(config(directory, 1), tasks, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl")
    asked = config(GOLDEN / "bert", 1)
    longer = dataclasses.replace(asked, batch=BatchConfig(tokens=100, row_length=50))
    with pytest.raises(UserError, match="batch.row_length.*'texts' reads texts of up to 50.*40"):
        train(longer, TASKS.format(rows), tmp_path / "run")
    pooler = dataclasses.replace(asked, heads=HeadsConfig(pooling=("pooler",)))
    with pytest.raises(UserError, match="heads.pooling 'pooler'.*has none"):
        train(pooler, TASKS.format(rows), tmp_path / "run")
    distances = Architecture(positions="disentangled", max_positions=8)
    encoder = EncoderConfig("transformer", embedding=8, features=8, heads=2, architecture=distances)
    writes = TASKS.format(rows) + "  next: {dataset: texts, kind: language_model, inputs: text}\n"
    with pytest.raises(UserError, match="'next': an encoder with disentangled .* writes no text"):
        train(dataclasses.replace(asked, encoder=encoder), writes, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.exhaustive
def test_a_language_model_begins_as_the_pretrained_one(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "the quick brown fox jumps"}\n' * 8)
    tasks = f"""
sources: {{texts: {{splits: {{train: {rows}, validation: {rows}, test: {rows}}}}}}}
tasks: {{next: {{dataset: texts, kind: language_model, inputs: text}}}}
"""
    train(config(GOLDEN / "gpt2", 0), tasks, tmp_path / "run")
    run, model = load_run(tmp_path / "run"), load(GOLDEN / "gpt2")
    prompt = model.tokens(["the lazy"]).tokens
    written = greedy_tokens(model, prompt, 6)[0].tolist()
    assert model.module.marks.end not in written
    expected = run.tokenizer.decode([*prompt[0].tolist(), *written])
    assert "the lazy" + run.generate(["the lazy"], max_tokens=6, temperature=0.0)[0] == expected


@pytest.mark.exhaustive
def test_a_decoder_begins_as_the_pretrained_one(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"q": "the quick brown fox", "a": "jumps"}\n' * 8)
    source = f"{{splits: {{train: {rows}, validation: {rows}, test: {rows}}}}}"
    task = "reply: {dataset: texts, kind: text_to_text, inputs: q, targets: a}"
    tasks = f"sources: {{texts: {source}}}\ntasks: {{{task}}}"
    train(config(GOLDEN / "t5", 0), tasks, tmp_path / "run")
    run, model = load_run(tmp_path / "run"), load(GOLDEN / "t5")
    for text in ("over the lazy fox", "a girl"):
        prompt = model.tokens([text]).tokens
        written = greedy_tokens(model, prompt, 6)[0].tolist()
        assert not set(written) & {1, 2} and len(set(written)) > 1
        expected = run.tokenizer.decode(written)
        assert run.generate([text], max_tokens=6, temperature=0.0) == [expected]
    # A beam finds what is at least as probable; of one, it is the same.
    assert run.generate([text], max_tokens=6, beam=1) == [expected]
    tasks = tasks.replace(task, "next: {dataset: texts, kind: language_model, inputs: q}")
    with pytest.raises(UserError, match="'next': texts of .*t5 begin with no mark"):
        train(config(GOLDEN / "t5", 0), tasks, tmp_path / "other")


def test_a_decoder_reads_out_by_the_rows_of_its_classes():
    checkpoint, matched = open_source(GOLDEN / "flan-t5")[1:]
    decoder, ids = load(GOLDEN / "flan-t5").decoder, np.array([2, 1, 40, 7])
    assert decoder is not None
    leaves = jax.tree_util.tree_leaves_with_path(decoder.params)
    like = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    table = checkpoint.read("lm_head.weight")
    np.testing.assert_array_equal(like["readout/table"], table)
    found = read_decoder(checkpoint, matched, like, ids)
    np.testing.assert_array_equal(found["readout/table"], table[ids])
    # Without one in the file it is the word table.
    found = read_decoder(checkpoint, matched._replace(output=()), like, ids)
    np.testing.assert_array_equal(found["readout/table"], checkpoint.read("shared.weight")[ids])


def test_a_decoder_reads_packed_answers_as_it_writes_them():
    model = load(GOLDEN / "t5")
    decoder, encoder = model.decoder, model.module
    assert decoder is not None
    with np.load(GOLDEN / "t5" / "golden.npz") as golden:
        source, written = golden["tokens"][:1], golden["generated"][:8]
    # Behind another text; the padding, which is an id too, begins the answer.
    texts = [[9, 8, 1, 0, 7], [*source[0], 0, *written[:-1]]]
    lengths = [len(text) for text in texts]
    batch = {
        "tokens": np.concatenate(texts)[None].astype(np.int32),
        "segments": np.repeat([1, 2], lengths)[None].astype(np.int32),
        "positions": np.concatenate([np.arange(n) for n in lengths])[None].astype(np.int32),
    }

    @jax.jit
    def classes(batch):
        features = encoder.apply({"params": model.params}, batch, attention="separate", train=False)
        ids = np.arange(encoder.vocabulary_size)
        readout = decoder.module.apply({"params": decoder.params}, features, ids, train=False)
        return readout.logits().argmax(-1)

    assert classes(batch)[0, -8:].tolist() == written.tolist()
