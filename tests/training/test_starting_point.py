"""Runs that start from another run."""

import dataclasses

import jax
import numpy as np
import pytest
from rich.console import Console

from mtljax.data import TokenizerSettings, load_data
from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.modules import DecoderConfig, EncoderConfig, SharingConfig
from mtljax.modules.architecture import Architecture
from mtljax.presets import Config, dump_config, like_run, read_config
from mtljax.training import train
from mtljax.training.model import data_options
from mtljax.training.persistence import run_directory
from mtljax.training.starting_point import read_as_there


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A directory for one run of this module."""
    return tmp_path_factory.mktemp("origin")


@pytest.fixture
def linear(config):
    """The tests' configuration with the linear encoder."""
    encoder = dataclasses.replace(config.encoder, kind="linear", ngram_buckets=32)
    return dataclasses.replace(config, steps=4, encoder=encoder)


@pytest.fixture
def origin(tiny, linear, tasks, kept):
    """A finished run of two tasks; trained once."""
    train(linear, (tasks["label"], tasks["grade"]), kept / "run")
    return kept / "run"


def from_run(config, origin, heads=False):
    like = like_run(config, str(origin))
    heads = dataclasses.replace(like.heads, from_run=heads)
    return dataclasses.replace(like, steps=0, heads=heads)


def same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_encoder_and_heads_are_those_of_the_run(tiny, linear, tasks, origin, tmp_path, capsys):
    config = from_run(linear, origin, heads=True)
    chosen = (tasks["number"], tasks["label"])
    train(config, chosen, tmp_path / "run", console=Console(width=500))
    first, second = load_run(origin), load_run(tmp_path / "run")
    same(second.params["shared"], first.params["shared"])
    same(second.params["heads"]["label"], first.params["heads"]["label"])
    assert second.tokenizer.fingerprint == first.tokenizer.fingerprint
    out = capsys.readouterr().out
    size = sum(leaf.size for leaf in jax.tree.leaves(first.params["shared"]))
    assert (
        f"from {origin}, step 4: tokenizer, encoder ({size:,} parameters) and the heads of label; "
        "drawn anew: the heads of number; left there: the heads of grade"
    ) in out


@pytest.mark.exhaustive
def test_a_structure_begins_where_a_run_without_one_is(tiny, plain, tasks, tmp_path):
    """Upper layers are copied to every task; gates are drawn beside the head of the run."""
    encoder = EncoderConfig(embedding=6, features=8, layers=2)
    base = dataclasses.replace(plain, encoder=encoder, steps=0)
    old, new = tasks["label"], tasks["number"]
    before = train(base, (old,), tmp_path / "hard")["tasks"]
    hard = load_run(tmp_path / "hard").params
    config = from_run(base, tmp_path / "hard", heads=True)
    for structure, chosen in (("private_layers", (old, new)), ("mmoe", (old,))):
        sharing = dataclasses.replace(config.sharing, structure=structure)
        begun = dataclasses.replace(config, sharing=sharing)
        summary = train(begun, chosen, tmp_path / structure)
        # Another program, which may round the last digit otherwise.
        scores = summary["tasks"]["label"]["validation"]
        assert scores == pytest.approx(before["label"]["validation"], rel=1e-6)
    found = load_run(tmp_path / "private_layers").params
    layers = hard["shared"]["lstm"]
    for own in found["private"].values():
        same(own["lstm"] | found["shared"]["lstm"], layers)
    assert set(found["private"]) == {"label", "number"}
    found = load_run(tmp_path / "mmoe").params["heads"]["label"]
    assert found.pop("sharing")
    same(found, hard["heads"]["label"])


def test_it_trains_on_and_needs_the_run_no_more(tiny, linear, tasks, origin, tmp_path):
    config = dataclasses.replace(from_run(linear, origin), steps=4)
    chosen, run = (tasks["label"],), tmp_path / "run"
    away = origin.with_name("away")
    train(config, chosen, run)
    drawn = load_run(run).params["heads"]["label"]["out"]["kernel"]
    assert np.any(np.asarray(drawn) != load_run(origin).params["heads"]["label"]["out"]["kernel"])
    origin.rename(away)
    try:
        longer = dataclasses.replace(config, steps=6)
        assert train(longer, chosen, run)["steps"] == 6
        with pytest.raises(UserError, match=f"encoder.from_run {origin}: no run there"):
            train(longer, chosen, tmp_path / "other")
    finally:
        away.rename(origin)
    assert not (tmp_path / "other").exists()


def test_a_dictionary_takes_what_it_does_not_say_from_the_run(origin, linear):
    config = read_config({"preset": "small", "encoder": {"from_run": str(origin), "dropout": 0.3}})
    assert config.encoder == dataclasses.replace(linear.encoder, from_run=str(origin), dropout=0.3)
    assert config.tokenizer == linear.tokenizer and config.steps == 1500
    with pytest.raises(UserError, match="config: encoder.from_run none: no run there"):
        read_config({"encoder": {"from_run": "none"}})


def test_a_run_of_a_pretrained_encoder_is_started_from_as_a_run(tmp_path):
    """Its shape and tokenizer are taken from it, not from the model that it began as."""
    encoder = EncoderConfig(kind="transformer", layers=3, pretrained="somewhere")
    tokenizer = TokenizerSettings(kind="pretrained", file="somewhere")
    relative = Architecture(positions="relative", position_buckets=8, max_positions=9)
    for own in (DecoderConfig(2), DecoderConfig(2, readout="own", architecture=relative)):
        begun = Config(encoder=encoder, tokenizer=tokenizer, decoder=own)
        (tmp_path / "config.yaml").write_text(dump_config(begun))
        config = like_run(Config(), str(tmp_path))
        assert config.encoder == dataclasses.replace(encoder, pretrained="", from_run=str(tmp_path))
        assert config.tokenizer == tokenizer
        # So is its decoder, where that came with the model.
        assert config.decoder == (own if own.readout == "own" else DecoderConfig())


@pytest.mark.exhaustive
def test_what_is_a_tasks_own_is_taken_with_its_head(tiny, plain, tasks, tmp_path):
    """And an LSTM reads one way that did so for a language model, which is left."""
    sharing = SharingConfig("lora", "private", rank=2)
    config = dataclasses.replace(plain, steps=0, seed=1, sharing=sharing)
    origin, run = tmp_path / "origin", tmp_path / "run"
    train(config, (tasks["tags"], tasks["next"]), origin)
    config = dataclasses.replace(from_run(plain, origin, heads=True), sharing=sharing)
    summary = train(config, (tasks["label"], tasks["tags"]), run)
    first, second = load_run(origin), load_run(run)
    same(second.params["shared"], first.params["shared"])
    for part in ("heads", "private"):
        same(second.params[part]["tags"], first.params[part]["tags"])
    assert second.config.encoder.bidirectional == "no"
    assert train(config, (tasks["label"], tasks["tags"]), run) == summary  # complete, as begun
    for field, value in (("alpha", 32.0), ("rank", 3), ("structure", "hard")):
        other = changed(config, **{f"sharing__{field}": value})
        with pytest.raises(UserError, match=rf"sharing\.{field} is .* there, not {value!r}"):
            train(other, (tasks["tags"],), tmp_path / "none")
    other = changed(config, encoder__bidirectional="yes")
    with pytest.raises(UserError, match="encoder.bidirectional is 'no' there, not 'yes'"):
        train(other, (tasks["tags"],), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_one_that_reads_in_both_directions_writes_no_text(tiny, plain, tasks, tmp_path):
    chosen = (tasks["tags"],)
    data = load_data(chosen, data_options(plain, chosen), tokenizer=plain.tokenizer)
    run_directory.make_directory(tmp_path / "origin")
    run_directory.write_run(tmp_path / "origin", plain, chosen, data)
    config = from_run(plain, tmp_path / "origin")
    message = "origin: reads in both directions, and the language model 'next' needs an LSTM that"
    with pytest.raises(UserError, match=message):
        train(config, (tasks["tags"], tasks["next"]), tmp_path / "run")
    assert read_as_there(config, chosen, tmp_path / "run") == config


def changed(config, **fields):
    for name, value in fields.items():
        section, _, field = name.partition("__")
        part = dataclasses.replace(getattr(config, section), **{field: value})
        config = dataclasses.replace(config, **{section: part})
    return config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder__embedding": 7}, "encoder.from_run .*: encoder.embedding is 6 there, not 7"),
        ({"tokenizer__min_count": 3}, "tokenizer.min_count is 1 there, not 3"),
        ({"heads__pooling": ("attention",)}, r"heads/label/.* has shape .* there, .* in this run"),
        ({"encoder__from_run": ""}, "heads.from_run: needs encoder.from_run"),
    ],
)
def test_what_differs_is_named(tiny, linear, tasks, origin, tmp_path, fields, message):
    config = changed(from_run(linear, origin, heads=True), **fields)
    with pytest.raises(UserError, match=message) as raised:
        train(config, (tasks["label"],), tmp_path / "run")
    assert "\n" not in str(raised.value) and not (tmp_path / "run").exists()


def test_a_head_of_other_classes_is_refused(tiny, linear, tasks, origin, tmp_path):
    config = from_run(linear, origin, heads=True)
    other = dataclasses.replace(tasks["grade"], name="label")
    with pytest.raises(UserError, match="task 'label' has other classes there"):
        train(config, (other,), tmp_path / "run")
    other = dataclasses.replace(tasks["number"], name="label")
    with pytest.raises(UserError, match="task 'label' is of another kind there"):
        train(config, (other,), tmp_path / "run")
    assert not (tmp_path / "run").exists()
