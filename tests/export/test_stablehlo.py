"""Exported runs answer as `Run.predict` does, without this library."""

import ast
import contextlib
import dataclasses
import importlib.util
import io
import json
import sys

import jax
import pytest

from mtljax.cli import main
from mtljax.data import TokenizerSettings
from mtljax.errors import UserError
from mtljax.export import to_stablehlo
from mtljax.modules import EncoderConfig, HeadsConfig
from mtljax.training.pretrained_start import resolved
from tests.export.runs import same, untrained
from tests.pretrained.test_families import GOLDEN

pytest.importorskip("flatbuffers")

TEXTS = [
    "w1 w2 w3",
    "Hello, w4 isn't w5!  <s> 3.5",
    "",
    "w9 " * 30,
    {"text": "w1 W2", "words": ["w1", "", "w7"]},
    {"text": "w1 " * 30, "words": ["w3"] * 30},
    "मुझे हिन्दी \ud800 🇩🇪",
]


def loaded(directory):
    """`answer.py` of an export."""
    spec = importlib.util.spec_from_file_location("exported_answer", directory / "answer.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ENCODER = EncoderConfig(
    kind="transformer", embedding=6, features=8, layers=2, heads=2, feed_forward=8, ngram_buckets=32
)
EVERY_POOLING = HeadsConfig(pooling=("mean", "root", "max", "last", "attention"), negatives=0)
KINDS = {
    # Byte pairs, pairs of texts, and taggers of texts in several passages.
    "bpe": ("transformer", EVERY_POOLING, ("grade", "pair", "tags", "reply")),
    "wordpiece": ("linear", None, ("label", "next")),
    "character": ("linear", None, ("label", "sets", "number", "tags", "next")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_predict(make, plain, tasks, tmp_path, kind):
    encoder, heads, names = KINDS[kind]
    config = dataclasses.replace(
        plain,
        tokenizer=TokenizerSettings(kind=kind, vocab_size=300, min_count=1),
        encoder=dataclasses.replace(ENCODER, kind=encoder),
        heads=heads or plain.heads,
    )
    chosen = tuple(tasks[name] for name in names)
    run = untrained(make, config, chosen)
    to_stablehlo(run, tmp_path / "out")
    # A language model continues longer texts in its own manner.
    texts = TEXTS if "next" not in names else [text for text in TEXTS if len(text) < 9]
    answers = loaded(tmp_path / "out").answer(texts)
    for found, expected in zip(answers, run.predict(texts), strict=True):
        same(found, expected)

    # Nothing of this library is imported, and every device is there.
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse((tmp_path / "out/answer.py").read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert {name.partition(".")[0] for name in imported if name} <= {
        *("itertools", "json", "re", "sys", "collections", "pathlib", "typing"),
        *("jax", "numpy", "safetensors", "tokenizers"),
    }
    signature = json.loads((tmp_path / "out/signature.json").read_text())
    for function in signature["functions"]:
        content = (tmp_path / "out" / function["file"]).read_bytes()
        assert jax.export.deserialize(content).platforms == ("cpu", "cuda", "tpu")
    assert {name for f in signature["functions"] for name in f["tasks"]} == set(names)


@pytest.mark.exhaustive
def test_a_pretrained_encoder_with_its_own_marks(make, plain, tasks, tmp_path):
    """Pieces around texts, token types of pairs, positions that are learned."""
    config = dataclasses.replace(
        plain,
        encoder=EncoderConfig(pretrained=str(GOLDEN / "bert")),
        heads=HeadsConfig(pooling=("cls", "pooler")),
    )
    chosen = tuple(tasks[name] for name in ("label", "pair", "tags"))
    run = untrained(make, resolved(config), chosen)
    to_stablehlo(run, tmp_path / "out")
    texts = ["The fox jumps", {"words": ["the", "", "dog"] * 9, "text": "a man " * 12}]
    answers = loaded(tmp_path / "out").answer(texts)
    for found, expected in zip(answers, run.predict(texts), strict=True):
        same(found, expected)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("family", "pooling", "names"),
    [("t5", "mean", ("label", "pair", "reply")), ("gpt2", "last", ("label", "next"))],
)
def test_a_pretrained_model_that_writes(make, plain, tasks, tmp_path, family, pooling, names):
    """A decoder with its own first mark and relative positions; a model that continues texts."""
    config = dataclasses.replace(
        plain,
        encoder=EncoderConfig(pretrained=str(GOLDEN / family)),
        heads=HeadsConfig(pooling=(pooling,)),
    )
    chosen = tuple(tasks[name] for name in names)
    run = untrained(make, resolved(config), chosen)
    to_stablehlo(run, tmp_path / "out")
    texts = ["The fox jumps", "a man"]
    answers, expected = loaded(tmp_path / "out").answer(texts), run.predict(texts)
    for found, wanted in zip(answers, expected, strict=True):
        same(found, wanted)
    written = [tuple(str(value) for value in wanted.values()) for wanted in expected]
    assert len(set(written)) == len(texts)  # the texts are read


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """`tiny_run`, exported by the command."""
    directory = tmp_path_factory.mktemp("exported") / "out"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["export", str(tiny_run), "--to", "stablehlo", str(directory), "--json"]) == 0
    sizes = {path.name: path.stat().st_size for path in directory.iterdir()}
    assert json.loads(out.getvalue()) == {"directory": str(directory), "files": sizes}
    return directory


def test_words_with_affixes_and_a_recurrent_encoder(exported, loaded_tiny_run):
    """Of case and punctuation words as lists: its texts are split in a manner of their own."""
    texts = ["A film, well-made!", "", "unheard-of Wörter 1980s", ["Oh", "", "McDonald's", "it"]]
    found = loaded(exported).answer(texts)
    for answers, expected in zip(found, loaded_tiny_run.predict(texts), strict=True):
        for name in ("sentiment", "stars", "writer"):
            same(answers[name], expected[name])
    words = {"tokens": ["oh", "it", "did"]}
    casing = loaded_tiny_run.predict([words])[0]["casing"]
    assert loaded(exported).answer([words])[0]["casing"]["tags"] == casing["tags"]


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main(["export", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1
    return err


def test_bad_inputs_leave_nothing(exported, tiny_run, tmp_path, capsys, monkeypatch):
    before = sorted(path.name for path in exported.iterdir())
    assert "is there already" in refused(capsys, tiny_run, exported)
    assert sorted(path.name for path in exported.iterdir()) == before
    assert "task 'star': unknown" in refused(capsys, tiny_run, tmp_path / "a", "--task", "star")
    assert "no such directory" in refused(capsys, tmp_path / "none", tmp_path / "a")
    (tmp_path / "file").write_text("")
    assert "export" in refused(capsys, tiny_run, tmp_path / "file/out", "--task", "stars")
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    assert "needs the extra 'export'" in refused(capsys, tiny_run, tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_kind_of_ones_own_has_no_answer_here(loaded_tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr("mtljax.export.functions._KNOWN", ("tagging",))
    with pytest.raises(UserError, match="kind 'classification' cannot be exported"):
        to_stablehlo(loaded_tiny_run, tmp_path / "out")
    assert not list(tmp_path.iterdir())
