"""The way back: what is written has the names and numbers that were read, and answers alike."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mtljax.cli import main
from mtljax.errors import UserError
from mtljax.export import to_huggingface
from mtljax.modules import EncoderConfig, HeadsConfig
from mtljax.pretrained import load
from mtljax.training.pretrained_start import resolved
from tests.export.runs import same, untrained
from tests.pretrained.test_families import GOLDEN

PREFIX = {"bert": "bert.", "roberta": ""}


@pytest.fixture
def small(tmp_path):
    """The small model of a family, with a pooler."""

    def copy(family):
        directory = shutil.copytree(GOLDEN / family, tmp_path / family)
        tensors, rng = load_file(directory / "model.safetensors"), np.random.default_rng(1)
        width = json.loads((directory / "config.json").read_text())["hidden_size"]
        dense = f"{PREFIX[family]}pooler.dense"
        tensors[f"{dense}.weight"] = rng.normal(0, 0.3, (width, width)).astype(np.float32)
        tensors[f"{dense}.bias"] = rng.normal(0, 0.3, width).astype(np.float32)
        save_file(tensors, directory / "model.safetensors")
        return directory

    return copy


@pytest.fixture
def of(make, plain, tasks):
    """A run of a pretrained encoder with the parameters of the model, and random heads."""

    def run(directory, *names, **heads):
        config = dataclasses.replace(
            plain,
            encoder=EncoderConfig(pretrained=str(directory)),
            heads=HeadsConfig(**{"pooling": ("pooler",), **heads}),
        )
        found = untrained(make, resolved(config), tuple(tasks[name] for name in names))
        shared = load(directory).params
        return dataclasses.replace(found, params={**found.params, "shared": shared})

    return run


@pytest.mark.parametrize("family", PREFIX)
def test_the_encoder_has_the_tensors_that_were_read(small, of, tmp_path, family):
    directory, out = small(family), tmp_path / "out"
    to_huggingface(of(directory, "label"), out)
    read = {
        name.removeprefix(PREFIX[family]): tensor
        for name, tensor in load_file(directory / "model.safetensors").items()
        if not name.startswith(("cls.", "lm_head."))
    }
    written = load_file(out / "model.safetensors")
    assert written.keys() == read.keys()
    for name, tensor in read.items():
        np.testing.assert_array_equal(written[name], tensor, err_msg=name)
    report = load(out).report
    assert not report.unexpected and not report.missing
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (out / name).read_bytes() == (directory / name).read_bytes()
    assert json.loads((out / "config.json").read_text())["architectures"] == [
        {"bert": "BertModel", "roberta": "RobertaModel"}[family]
    ]


HEAD = {
    "bert": ("bert.pooler.dense", "classifier"),
    "roberta": ("classifier.dense", "classifier.out_proj"),
}


@pytest.mark.parametrize("family", PREFIX)
def test_heads_answer_as_predict_does(small, of, tmp_path, family):
    """By the formulas of the families' heads, from the hidden states of what was written."""
    directory = small(family)
    run = of(directory, "label", "grade", "sets", "number", "tags", lookahead=0)
    text, words = "the fox is a dog", ["the", "fox", "is", "a", "dog"]
    expected = run.predict([{"text": text, "words": words}])[0]
    for task in ("label", "grade", "sets", "number", "tags"):
        out = tmp_path / f"out-{task}"
        to_huggingface(run, out, task)
        tensors, config = load_file(out / "model.safetensors"), json.loads(
            (out / "config.json").read_text()
        )  # fmt: skip
        model = load(out)
        hidden = np.asarray(model.hidden_states(*model.tokens([words if task == "tags" else text])))
        dense, last = HEAD[family] if task != "tags" else ("", "classifier")
        if dense:
            weight, bias = tensors[f"{dense}.weight"], tensors[f"{dense}.bias"]
            hidden = np.tanh(hidden[:, 0] @ weight.T + bias)
        logits = (hidden @ tensors[f"{last}.weight"].T + tensors[f"{last}.bias"])[0]
        names = [config["id2label"][str(i)] for i in range(logits.shape[-1])]
        assert config["label2id"] == {name: i for i, name in enumerate(names)}
        kind = "Token" if task == "tags" else "Sequence"
        assert config["architectures"][0].endswith(f"For{kind}Classification")
        if task == "number":
            same({"value": float(logits[0])}, expected[task])
            assert config["problem_type"] == "regression"
        elif task == "sets":
            shares = dict(zip(names, map(float, 1 / (1 + np.exp(-logits))), strict=True))
            same(shares, expected[task]["probabilities"])
        elif task == "tags":
            firsts = np.flatnonzero(run.tokenizer.encode([words]).words >= 0)
            assert [names[i] for i in logits[firsts].argmax(-1)] == expected[task]["tags"]
        else:
            shares = np.asarray(jax.nn.softmax(logits))
            shares = dict(zip(names, map(float, shares), strict=True))
            same(shares, expected[task]["probabilities"])


def test_what_cannot_be_written(small, of, tmp_path, tiny_run, capsys):
    directory = small("bert")
    run = of(directory, "label", "tags", pooling=("mean",), tag_hidden=3)
    out = tmp_path / "out"

    def refused(message, *arguments, run=run, **more):
        with pytest.raises(UserError, match=message) as raised:
            to_huggingface(run, out, *arguments, **more)
        assert "\n" not in str(raised.value) and not out.exists()

    refused("head of a Bert model is --heads.pooling pooler and no --heads.hidden", "label")
    refused("head of a Bert model is no --heads.tag-hidden", "tags")
    refused("task 'lable': unknown", "lable")
    refused("encoder.architecture is", like=GOLDEN / "roberta")
    out.mkdir()
    (out / "mine").write_text("")
    with pytest.raises(UserError, match="is there already"):
        to_huggingface(run, out)
    shutil.rmtree(out)
    shutil.rmtree(directory)
    refused("the pretrained model is not there; --like DIR names it")
    capsys.readouterr()
    assert main(["export", str(tiny_run), "--to", "huggingface", str(out)]) == 2
    assert "was no pretrained one; --like DIR" in capsys.readouterr().err
    assert main(["export", str(tiny_run), "--to", "stablehlo", str(out), "--like", "x"]) == 2
    assert "--like: is for --to huggingface" in capsys.readouterr().err
    assert not out.exists()
