import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from mtljax.data import TokenizerSettings
from mtljax.data.tokenizers.words import WordTokenizer
from mtljax.errors import UserError
from mtljax.modules import EncoderConfig
from mtljax.presets import Config, read_config
from mtljax.pretrained.word_vectors import read_word_vectors
from mtljax.step.state import TrainState
from mtljax.training.word_vectors import start_from_vectors, vectors_of

NAMES = ["the", "Paris", "paris", "ice cream", "Rome", "unseen"]
VECTORS = np.arange(12, dtype=np.float32).reshape(6, 2) - 3.5
VOCABULARY = {"rome": 7, "ice cream": 5, "paris": 4, "none": 9}
TEXT = "\n".join(f"{name} {x} {y}" for name, (x, y) in zip(NAMES, VECTORS, strict=True)) + "\n"


@pytest.fixture(params=["glove.txt", "word2vec.vec", "a.npz", "a.safetensors"])
def file(request, tmp_path):
    path = tmp_path / request.param
    if path.suffix == ".npz":
        np.savez(path, words=np.array(NAMES), vectors=VECTORS)
    elif path.suffix == ".safetensors":
        save_file({"vectors": VECTORS}, path, metadata={"words": json.dumps(NAMES)})
    else:
        path.write_text(("6 2\n" if path.suffix == ".vec" else "") + TEXT)
    return path


def test_every_format_has_the_same_words(file):
    ids, values = read_word_vectors(file, VOCABULARY, lowercase=True)
    assert ids.tolist() == [4, 5, 7]
    # The word itself before one with capitals.
    np.testing.assert_array_equal(values, VECTORS[[2, 3, 4]])
    assert read_word_vectors(file, VOCABULARY, lowercase=False).ids.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "the 1 2\nparis 1\n", "a.txt, line 2: 1 numbers, the lines before have 2"),
        ("a.txt", "paris 1 x\n", "a.txt, line 1: not numbers after 'paris'"),
        ("a.txt", "paris 1 nan\n", "a.txt, line 1: a number that is not finite"),
        ("a.txt", "", "has none of the words"),
        ("a.txt", "other 1 2\n", "has none of the words"),
        ("a.npz", "PK", "damaged"),
        ("a.safetensors", "x", "damaged"),
    ],
)
def test_damages_are_told_with_their_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as error:
        read_word_vectors(tmp_path / name, VOCABULARY, lowercase=True)
    assert "\n" not in str(error.value)


def test_a_run_begins_with_them(tmp_path):
    (tmp_path / "v.txt").write_text(TEXT)
    tokenizer = WordTokenizer(["rome", "other", "paris"], TokenizerSettings())
    encoder = EncoderConfig(embedding=2, vectors=str(tmp_path / "v.txt"))
    config = Config(encoder=encoder)
    found = vectors_of(config, tokenizer, tmp_path)
    assert found is not None
    drawn = {"shared": {"embedding": {"words": np.zeros((7, 2), np.float32)}}, "heads": {}}
    drawn = jax.tree.map(jnp.asarray, drawn)
    state = TrainState(*[None] * len(TrainState._fields))._replace(params=drawn, average=drawn)
    said = []
    state = start_from_vectors(config, found, state, said.append)
    assert said == [f"{encoder.vectors}: vectors of 2 of 3 words (67%), the others are drawn"]
    for params in (state.params, state.average):
        table = np.asarray(params["shared"]["embedding"]["words"])
        np.testing.assert_array_equal(table[[0, 1, 2, 3, 5]], 0)
        rows = table[[4, 6]]
        np.testing.assert_allclose(rows / rows[0, 0], VECTORS[[4, 2]] / VECTORS[4, 0], rtol=1e-6)
        np.testing.assert_allclose(np.mean(rows**2), 1 / 2, rtol=1e-6)
    for options, message in (
        ({"embedding": 3}, r"vectors of 2 numbers, encoder.embedding is 3 \(--encoder.embedding 2"),
        ({"from_run": "r"}, "encoder.vectors and encoder.from_run: name one"),
        ({"vectors": str(tmp_path / "none")}, "No such file"),
    ):
        wrong = dataclasses.replace(config, encoder=dataclasses.replace(encoder, **options))
        with pytest.raises(UserError, match=message):
            vectors_of(wrong, tokenizer, tmp_path)
    pieces = dataclasses.replace(config, tokenizer=TokenizerSettings("bpe"))
    with pytest.raises(UserError, match="are of words"):
        vectors_of(pieces, tokenizer, tmp_path)


def test_a_run_that_begins_as_another_one_reads_no_vectors(tmp_path):
    (tmp_path / "config.yaml").write_text("encoder: {vectors: v.txt, embedding: 2}")
    encoder = read_config({"encoder": {"from_run": str(tmp_path)}}).encoder
    assert (encoder.vectors, encoder.embedding) == ("", 2)


def test_an_array_without_a_name_and_words_of_no_shape_are_told(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.ones(3))
    words = {"words": json.dumps(["rome", ["paris"]])}
    save_file({"vectors": np.ones((2, 2), np.float32)}, tmp_path / "b.safetensors", words)
    for name in ("a.npz", "b.safetensors"):
        with pytest.raises(UserError, match="damaged"):
            read_word_vectors(tmp_path / name, VOCABULARY, lowercase=True)
