"""What cannot be used is one line that names it."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mtljax.data.tokenizers.pretrained import read_pretrained_tokenizer
from mtljax.errors import UserError
from mtljax.pretrained.load import open_source
from tests.pretrained.test_families import GOLDEN


@pytest.fixture
def directory(tmp_path):
    return shutil.copytree(GOLDEN / "bert", tmp_path / "bert")


def edit(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def refused(directory, *words):
    with pytest.raises(UserError) as caught:
        open_source(directory)
    text = str(caught.value)
    assert "\n" not in text and all(word in text for word in words), text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "mamba"}, ["'mamba'", "bert"]),
        ({"hidden_act": "quick_gelu"}, ["hidden_act", "quick_gelu"]),
        ({"position_embedding_type": "relative_key"}, ["position_embedding_type", "relative_key"]),
        ({"is_decoder": True}, ["is_decoder", "True"]),
        ({"rope_scaling": {"type": "yarn"}}, ["rope_scaling", "not known"]),
        ({"hidden_size": ...}, ["hidden_size", "missing"]),
        ({"num_hidden_layers": "two"}, ["num_hidden_layers", "'two'"]),
        ({"num_hidden_layers": 3}, ["encoder.layer.2.", "missing"]),
        ({"intermediate_size": 50}, ["intermediate.dense.weight", "[48, 32]", "[50, 32]"]),
        ({"quantization_config": {"bits": 4}}, ["quantization_config"]),
    ],
)
def test_configurations(directory, changes, words):
    edit(directory / "config.json", **changes)
    refused(directory, *words)


def test_weights(directory):
    path = directory / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    refused(directory, "model.safetensors", "cut short or damaged")
    path.unlink()
    refused(directory, "has no model.safetensors")
    (directory / "pytorch_model.bin").write_bytes(b"pickled")
    refused(directory, "pytorch_model.bin is not read", "save_pretrained")
    (directory / "config.json").write_text("{")
    refused(directory, "config.json", "cut short or damaged")
    (directory / "config.json").unlink()
    refused(directory, "has no config.json")
    refused(directory / "nowhere", "no such directory")


def test_a_decoder_is_there_or_is_not(tmp_path):
    directory = shutil.copytree(GOLDEN / "t5", tmp_path / "t5")
    path = directory / "model.safetensors"
    tensors = load_file(path)
    some = "decoder.block.0.layer.1.EncDecAttention.v.weight"
    save_file({name: x for name, x in tensors.items() if name != some}, path)
    refused(directory, some, "missing")
    edit(directory / "config.json", architectures=["T5EncoderModel"])
    report = open_source(directory).matched.report
    assert report.left and not report.unexpected
    save_file({name: x for name, x in tensors.items() if "decoder" not in name}, path)
    assert not open_source(directory).matched.report.left


def shard(directory):
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, part in shards.items():
        save_file({name: tensors[name] for name in part}, directory / shard)
    where = {name: shard for shard, part in shards.items() for name in part}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return names


def test_shards(directory):
    names = shard(directory)
    assert sorted(open_source(directory).checkpoint.files) == names
    edit(directory / "model.safetensors.index.json", weight_map={names[0]: "b.safetensors"})
    refused(directory, "b.safetensors", repr(names[0]))
    edit(directory / "model.safetensors.index.json", weight_map={names[0]: "c.safetensors"})
    refused(directory, "'c.safetensors'", "missing")
    (directory / "model.safetensors.index.json").write_text("[]")
    refused(directory, "index.json", "damaged")


def test_numbers_of_another_kind(directory):
    path = directory / "model.safetensors"
    tensors = load_file(path)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    halves = {name: x.astype(ml_dtypes.bfloat16) for name, x in tensors.items()}
    save_file(halves, path)
    source = open_source(directory)
    assert source.checkpoint.read(name).dtype == ml_dtypes.bfloat16
    save_file({**tensors, name: tensors[name].astype(np.int8)}, path)
    with pytest.raises(UserError, match=f"{name}.*I8"):
        open_source(directory).checkpoint.read(name)


def test_unexpected_tensors_are_said(directory):
    path = directory / "model.safetensors"
    tensors = load_file(path)
    tied = tensors["bert.embeddings.word_embeddings.weight"]
    more = {"bert.adapter.weight": np.zeros(2), "cls.predictions.decoder.weight": tied}
    save_file(tensors | more, path)
    report = open_source(directory).matched.report
    assert report.unexpected == ("bert.adapter.weight",)
    assert report.tied == ("cls.predictions.decoder.weight",)
    assert "1 unexpected and not read (bert.adapter.weight)" in report.summary()
    assert "bert.adapter.weight" in str(report)


@pytest.mark.parametrize(("old", "new"), [("bert.", "model.encoder."), ("bert.", "")])
def test_any_prefix_and_old_names(directory, old, new):
    path = directory / "model.safetensors"

    def renamed(name):
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        return name.replace("LayerNorm.bias", "LayerNorm.beta").replace(old, new)

    save_file({renamed(name): x for name, x in load_file(path).items()}, path)
    report = open_source(directory).matched.report
    assert report.prefix == new and not report.unexpected


def test_tokenizers(directory):
    edit(directory / "config.json", vocab_size=20)
    with pytest.raises(UserError, match="has ids up to .* a table of 20"):
        read_pretrained_tokenizer(str(directory))
    (directory / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="no tokenizer.json of the tokenizers library"):
        read_pretrained_tokenizer(str(directory))
    (directory / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="neither tokenizer.json nor vocab.txt"):
        read_pretrained_tokenizer(str(directory))


def test_a_vocabulary_alone_is_the_tokenizer_of_bert(directory):
    model = read_pretrained_tokenizer(str(directory))
    vocabulary = model.content["model"]["vocab"]
    (directory / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n")
    (directory / "tokenizer.json").unlink()
    again = read_pretrained_tokenizer(str(directory))
    assert again.marks == model.marks and again.vocabulary == model.vocabulary
    for part in ("normalizer", "pre_tokenizer"):
        assert again.content[part] == model.content[part]
    assert again.content["model"]["vocab"] == vocabulary
