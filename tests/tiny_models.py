"""Small models on made-up data, as fixtures, for the tests that train or use one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtljax.data import Feature, Source, TokenizerSettings, load_data
from mtljax.kinds import KINDS
from mtljax.modules import EncoderConfig, HeadsConfig
from mtljax.presets import BatchConfig, Config, OptimizerConfig
from mtljax.tasks import Task
from mtljax.training import step as step_module
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.model import build_model, data_options, initial_params
from mtljax.training.objectives.model_objectives import model_objectives
from mtljax.training.step import make_step
from mtljax.weighting.common.guard import guard
from tests.training.on_devices import draw

WORDS = [f"w{i}" for i in range(24)]
CLASSES = ("O", "B-x", "I-x", "B-y", "I-y")
GENRES = ("drama", "comedy", "crime", "war")
SIZES = {"train": 60, "validation": 17, "test": 11}


def _row(rng):
    words = rng.choice(WORDS, rng.integers(1, 9)).tolist()
    return {
        "text": " ".join(words),
        "words": words,
        "label": int(rng.integers(-1, 2)),  # -1: no label
        "grade": int(rng.integers(0, 3)),
        "tags": rng.integers(0, len(CLASSES), len(words)).tolist(),
        "genres": None if len(words) == 7 else [g for g in range(4) if WORDS[g] in words],
        "answer": None if len(words) == 2 else " ".join(words[2::-1]),
        "y": float(rng.normal()),
        "alpha": float(rng.uniform(0, 2)),
    }


@pytest.fixture(scope="session")
def source():
    rng = np.random.default_rng(0)
    return Source(
        name="tiny",
        identity="tiny",
        features={
            "text": Feature("text"),
            "words": Feature("tokens"),
            "label": Feature("label", ("bad", "good")),
            "grade": Feature("label", ("a", "b", "c")),
            "tags": Feature("tags", CLASSES),
            "genres": Feature("tags", GENRES),
            "answer": Feature("text"),
            "y": Feature("number"),
            "alpha": Feature("number"),
        },
        splits={name: [_row(rng) for _ in range(size)] for name, size in SIZES.items()},
    )


@pytest.fixture
def tiny(source, monkeypatch):
    """Makes the data set `tiny` known."""
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_sources.load_source", lambda name, data_dir, **_: source
    )


LABEL = Task("label", "tiny", "classification", "text", "label")
GRADE = Task("grade", "tiny", "classification", "text", "grade", weights="alpha")
NUMBER = Task("number", "tiny", "regression", "text", "y")
NEXT = Task("next", "tiny", "language_model", "text")
TAGS = Task("tags", "tiny", "tagging", "words", "tags")
SETS = Task("sets", "tiny", "multilabel", "text", "genres", weights="alpha")
PAIR = Task("pair", "tiny", "classification", ("words", "text"), "grade")
REPLY = Task("reply", "tiny", "text_to_text", "text", "answer", weights="alpha")
TASKS = (LABEL, TAGS, NEXT, NUMBER)

CONFIG = Config(
    preset="test",
    steps=12,
    evaluate_every=4,
    log_every=3,
    tokenizer=TokenizerSettings(min_count=1, prefixes=(1,), suffixes=(), affix_buckets=16),
    batch=BatchConfig(tokens=96, row_length=12, ahead=1),
    encoder=EncoderConfig(embedding=6, features=8, dropout=0.2, word_dropout=0.1, ngrams=1),
    heads=HeadsConfig(("mean",), negatives=5, dropout=0.1),
    optimizer=OptimizerConfig(warmup_steps=2),
)
PLAIN = dataclasses.replace(
    CONFIG,
    encoder=EncoderConfig(embedding=6, features=8, ngrams=1),
    heads=HeadsConfig(("mean",), negatives=0),
)


@pytest.fixture
def tasks():
    """The tasks by name."""
    return {task.name: task for task in (*TASKS, GRADE, SETS, PAIR, REPLY)}


@pytest.fixture
def config():
    """With dropout, word dropout and a sampled softmax."""
    return CONFIG


@pytest.fixture
def plain():
    """Without anything random in a step."""
    return PLAIN


@pytest.fixture
def make(tiny):
    """From a configuration and tasks to a model and its data."""

    def build(config=PLAIN, tasks=TASKS):
        data = load_data(tasks, data_options(config, tuple(tasks)), tokenizer=config.tokenizer)
        counts = {t.name: np.ones(data.outputs[t.name].num_classes, int)
                  for t in tasks if KINDS[t.kind].writes}  # fmt: skip
        return build_model(config, data.layout, counts), data

    return build


@pytest.fixture
def unaveraged(plain):
    """The linear encoder, whose programs compile in a third of the time, and no moving average."""
    optimizer = dataclasses.replace(plain.optimizer, average=0.0)
    encoder = dataclasses.replace(plain.encoder, kind="linear", ngram_buckets=32)
    return dataclasses.replace(plain, optimizer=optimizer, encoder=encoder)


def random_params(model, scale=0.4):
    """All parameters of a model from NumPy: compiling its own initializers takes long."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: initial_params(model))
    return jax.tree.map(lambda x: rng.normal(0, scale, x.shape).astype(x.dtype), shapes)


@pytest.fixture
def drawn(monkeypatch):
    """Parameters that NumPy draws: compiling the network's own initializers takes long."""
    monkeypatch.setattr(step_module, "init", draw)


@pytest.fixture
def begin(make, unaveraged, drawn):
    """The model, a jitted step, the first state and the streams."""

    def run(method, tasks, config=unaveraged):
        model, data = make(config, tasks)
        requires = method.requires if hasattr(method, "requires") else frozenset()
        streams = AlignedStreams(data, config, requires)
        first, _ = next(streams)
        step = make_step(model, method, optax.sgd(1.0), config)
        state = jax.jit(step.init)(first)
        streams.set_state({"next_index": 0})
        return model, jax.jit(step.update), state, streams

    return run


def key_of(step):
    """The random key of a step."""
    return jax.random.fold_in(jax.random.key(0), step)


def rows_reader(model):
    """From parameters, a batch and a key or None to objectives and their shared gradients.

    That is ``[T]`` and ``[T, P]``, by the Jacobian of the losses, compiled once.
    """
    importance = np.array([task.weight for task in model.tasks], np.float32)
    losses = model_objectives(model).losses

    @jax.jit
    def read(params, batch, key):
        def objectives(shared):
            scaled = importance * losses({**params, "shared": shared}, batch, key)
            return scaled, scaled

        return jax.jacrev(objectives, has_aux=True)(params["shared"])

    def rows(params, batch, key):
        slopes, objectives = read(params, batch, key)
        leaves = [np.reshape(leaf, (len(importance), -1)) for leaf in jax.tree.leaves(slopes)]
        return np.asarray(objectives), np.concatenate(leaves, axis=1)

    return rows


def flat(params):
    """The shared parameters, or what has their shape, as one row."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params["shared"])])


def close(found, expected, rtol=2e-4):
    """Equal to a share of the largest number."""
    scale = max(float(np.abs(expected).max()), 1e-6)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


def agreement():
    """A method that reads the whole Gramian and compiles fast; see `agreement_of`."""

    def update(losses, state, *, present, gramian):
        cosines, norms = gramian
        there = norms > 0
        parts = jnp.where(there, jnp.sum(cosines**2, 1) / jnp.where(there, norms, 1), 0)
        return parts / jnp.sum(parts), state

    return guard(
        lambda num_tasks: (), update, fallback=lambda state, counted: counted, requires=("gramian",)
    )


def agreement_of(gramian):
    """The weights of `agreement`: squared cosines with all over the norm, summing to 1."""
    norms = np.sqrt(np.diagonal(gramian))
    parts = np.square(gramian / np.outer(norms, norms)).sum(1) / norms
    return parts / parts.sum()


@pytest.fixture
def three(tasks):
    """Two tasks of one input group, one of them important, and one of another group."""
    return (
        tasks["label"],
        dataclasses.replace(tasks["tags"], weight=2.0),
        tasks["number"],
    )
