"""Steps of made-up tasks on one device and on eight, for processes that have eight."""

import contextlib
import dataclasses

import jax
import numpy as np
import optax

from mtljax.data import Group, Layout
from mtljax.data.batching.batches import Shape
from mtljax.kinds import Output
from mtljax.modules import DecoderConfig, EncoderConfig, HeadsConfig, init
from mtljax.presets import Config, GradientsConfig, OptimizerConfig, ParallelConfig
from mtljax.tasks import Task
from mtljax.training import step as step_module
from mtljax.training.distributed import distribute
from mtljax.training.inputs.abstract_batch import abstract_batch, abstract_extra
from mtljax.training.method import make_method
from mtljax.training.model import attention_of, build_model

LABEL = Task("label", "a", "classification", "text", "label", loss="sigmoid")
TAGS = Task("tags", "b", "tagging", "words", "tags", weight=2.0)
NEXT = Task("next", "c", "language_model", "text")
STARS = Task("stars", "d", "regression", "text", "stars")
REPLY = Task("reply", "e", "text_to_text", "text", "answer")
WORDS = 16
OUTPUTS = {
    "label": Output(2, ("no", "yes")),
    "tags": Output(3, ("O", "B", "I")),
    "next": Output(12, ids=np.arange(2, 14, dtype=np.int32)),
    "stars": Output(1),
    "reply": Output(10, ids=np.arange(3, 13, dtype=np.int32)),
}
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.3, momentum=0.9))


def configuration(
    kind,
    weighting="equal",
    *,
    heads=None,
    gradients=None,
    accumulate=1,
    decoder=0,
    average=0.0,
    ngrams=1,
    **encoder,
):
    """A small configuration, without dropout unless the encoder has some.

    Each pooling, table and moving average is more to compile: few tests have all of them.
    """
    shape = EncoderConfig(
        kind,
        embedding=8,
        features=16,
        heads=2,
        feed_forward=24,
        ngrams=ngrams,
        ngram_buckets=40,
        **encoder,
    )
    return Config(
        encoder=shape,
        heads=heads or HeadsConfig(("mean",), negatives=5, tag_hidden=4),
        decoder=DecoderConfig(decoder, heads=2, feed_forward=12, dropout=0.0),
        optimizer=OptimizerConfig(average=average, accumulate=accumulate),
        gradients=gradients or GradientsConfig(),
        weighting=weighting,
    )


def make(config, tasks, together=(), outputs=OUTPUTS, counts=None):
    """A model of tasks in groups of their own, but for those that are named together."""
    attention = attention_of(config, tuple(tasks))
    groups: dict = {}
    for task in tasks:
        groups.setdefault("both" if task.name in together else f"of_{task.name}", []).append(task)
    layout = Layout(
        tuple(Group(name, tuple(them), "text", attention(them[0]), None, False)
              for name, them in groups.items()),
        {task.name: outputs[task.name] for task in tasks},
        {name: Shape(8, 6, 2, 2) for name in groups},
        WORDS,
        9,
    )  # fmt: skip
    if counts is None:
        counts = {"next": np.arange(12)} if NEXT in tasks else {}
    return build_model(config, layout, counts)


def fill(shapes, rng):
    """Random rows, of which some are empty and some targets are missing."""

    def of(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if "weights" in name:
            # Weights that differ much from row to row, so that a mean of means is another mean.
            scale = rng.integers(0, 3, (leaf.shape[0], 1))
            return (scale * rng.uniform(size=leaf.shape)).astype(leaf.dtype)
        if leaf.dtype == np.float32:
            return rng.normal(size=leaf.shape).astype(leaf.dtype)
        high = 3 if "segments" in name else 2 if "targets" in name else 9
        values = rng.integers(0, high, leaf.shape)
        return (np.sort(values) if "segments" in name else values).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(of, shapes)


def draw(network, key, batch):
    """Parameters that NumPy draws, in place of `mtljax.modules.init`, which takes long to compile.

    All are random, where a linear encoder's n-grams would begin at zero.
    """
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda batch: init(network, key, batch), batch)
    return jax.tree.map(lambda x: rng.normal(0, 0.4, x.shape).astype(x.dtype), shapes)


@contextlib.contextmanager
def drawn_by(init):
    """Runs have the parameters that a function like `draw` gives them."""
    before, step_module.init = step_module.init, init
    try:
        yield
    finally:
        step_module.init = before


COMPILED = []


def compiled(event, seconds, **about):
    if event == "/jax/core/compile/backend_compile_duration":
        COMPILED.append(about)


def run(config, made, batches, lower=False, **parallel):
    """The state and the metrics after some batches, and the compiled text if it is asked for.

    Only the first batch may compile anything.
    """
    jax.monitoring.register_event_duration_secs_listener(compiled)
    config = dataclasses.replace(config, parallel=ParallelConfig(**parallel))
    method = make_method(config, len(made.tasks))
    devices = distribute(config, made, method, OPTIMIZER, abstract_batch(made.layout))
    state, text = devices.init(batches[0][0]), ""
    step = devices.step
    for number, batch in enumerate(batches):
        COMPILED.clear()
        placed = devices.place(batch)
        if lower and not text:
            step = step.lower(state, *placed).compile()
            text = step.as_text()
        state, metrics = step(state, *placed)
        assert not number or not COMPILED, COMPILED
    jax.monitoring.unregister_event_duration_listener(compiled)
    return devices, state, metrics, text


def batches_for(config, model, count=2):
    """Some batches with what the method reads besides."""
    rng = np.random.default_rng(0)
    requires = make_method(config, len(model.tasks)).requires
    shapes = abstract_batch(model.layout), abstract_extra(model.layout, requires)
    return [fill(shapes, rng) for _ in range(count)]


def assert_same(found, expected, rtol=2e-3, atol=2e-5):
    """Equal to rounding, number by number."""
    a, b = jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected)
    assert len(a) == len(b)
    for (path, x), y in zip(a, b, strict=True):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=name)


def compare(config, tasks, settings, together=(), init=draw):
    """Runs on one device, then with each of some settings on eight; the same must come out."""
    with drawn_by(init):
        return _compare(config, tasks, settings, together)


def _compare(config, tasks, settings, together):
    model = make(config, tasks, together)
    batches = batches_for(config, model)
    _, *one, _ = run(config, model, batches)
    one = jax.device_get(one)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(one[0].params))
    found = []
    for setting in settings:
        devices, state, metrics, text = run(config, model, batches, **setting)
        assert_same(jax.device_get([state, metrics]), one)
        found.append((devices, state, text))
    return found
