import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.inference.decoder import make_decodable, make_decoder, prepare
from mtljax.inference.prompts import affix_table
from mtljax.modules import DecoderConfig, encode, predict
from mtljax.special_tokens import END, START
from tests.tiny_models import random_params

LENGTHS, ROOM = np.array([5, 1, 3]), 4


def all_logits(decodable, weights, batch, read):
    """Of the ends of the prompts and of what follows, the classes `read`: ``[R, ROOM + 1, V]``."""
    start, first = decodable.prefill(weights, batch, ROOM)

    def step(state, each):
        return decodable.step(weights, state, *each)

    _, rest = jax.lax.scan(step, start, (jnp.asarray(read), jnp.arange(ROOM)))
    return jnp.concatenate([first[:, None], jnp.swapaxes(rest, 0, 1)], axis=1)


@pytest.mark.parametrize("kind", ["transformer", "lstm", "linear"])
def test_the_logits_of_a_step_are_those_of_the_whole_text(kind, make, plain, tasks):
    encoder = dataclasses.replace(plain.encoder, kind=kind, heads=2)
    model, data = make(dataclasses.replace(plain, encoder=encoder), (tasks["next"],))
    params = random_params(model)
    table, (group,) = affix_table(data.tokenizer), model.layout.groups
    ids = data.outputs["next"].ids
    width = LENGTHS.max() + ROOM
    classes = np.random.default_rng(0).integers(0, len(ids), (3, width))
    tokens, columns = ids[classes], np.arange(width)

    @jax.jit
    def whole(params):
        batch = {
            "tokens": tokens,
            "affixes": table[tokens],
            "segments": np.ones_like(tokens),
            "positions": np.broadcast_to(columns, tokens.shape),
        }
        features = encode(model.network, params["shared"], group.name, batch)
        return predict(model.network, params["heads"]["next"], "next", features, 1).logits()

    @jax.jit
    def stepwise(params):
        decodable = make_decodable(model, "next", table)
        weights = prepare(model, "next", params)
        place = np.arange(LENGTHS.max()) - (LENGTHS.max() - LENGTHS)[:, None]
        own = np.take_along_axis(tokens, np.maximum(place, 0), axis=1) * (place >= 0)
        batch = {
            "tokens": own,
            "affixes": table[own],
            "segments": (place >= 0).astype(np.int32),
            "positions": np.maximum(place, 0),
        }
        read = [classes[np.arange(3), LENGTHS + count] for count in range(ROOM)]
        return all_logits(decodable, weights, batch, np.stack(read))

    expected, found = np.asarray(whole(params)), np.asarray(stepwise(params))
    assert found.dtype == np.float32
    for row, length in enumerate(LENGTHS):
        own = expected[row, length - 1 : length + ROOM]
        np.testing.assert_allclose(found[row], own, atol=1e-4)
        assert np.ptp(own) > 0.1


@pytest.mark.parametrize(
    ("kind", "layers", "attention"),
    [("transformer", 0, "prefix"), ("transformer", 1, "separate"), ("lstm", 2, "separate")],
)
def test_the_logits_of_an_answer_are_those_of_packed_rows(
    kind, layers, attention, make, plain, tasks
):
    encoder = dataclasses.replace(plain.encoder, kind=kind, heads=2)
    decoder = DecoderConfig(layers, heads=1, feed_forward=6)
    config = dataclasses.replace(plain, encoder=encoder, decoder=decoder)
    model, data = make(config, (tasks["reply"],))
    params = random_params(model)
    table, (group,) = affix_table(data.tokenizer), model.layout.groups
    assert group.attention == attention
    ids, rng = data.outputs["reply"].ids, np.random.default_rng(0)
    sources = [rng.integers(4, len(data.tokenizer.pieces), n - 2) for n in LENGTHS + 2]
    sources = [np.array([START, *words, END]) for words in sources]
    classes = rng.integers(2, len(ids), (3, ROOM))
    texts = [np.concatenate([s, ids[c]]) for s, c in zip(sources, classes, strict=True)]

    def batch(tokens, segments, positions):
        tokens, segments, positions = (np.array(x)[None] for x in (tokens, segments, positions))
        return {
            "tokens": tokens,
            "affixes": table[tokens],
            "segments": segments,
            "positions": positions,
        }

    # All texts in one row, and padding.
    packed = batch(
        np.concatenate([*texts, [0, 0]]),
        np.concatenate([np.repeat([1, 2, 3], [len(text) for text in texts]), [0, 0]]),
        np.concatenate([*(np.arange(len(text)) for text in texts), [0, 0]]),
    )

    @jax.jit
    def whole(params, batch):
        features = encode(model.network, params["shared"], group.name, batch)
        return predict(model.network, params["heads"]["reply"], "reply", features, 3).logits()

    logits = np.asarray(whole(params, packed))[0]
    decodable = make_decodable(model, "reply", table)
    weights = prepare(model, "reply", params)
    width = max(map(len, sources))
    rows = [np.pad(s, (width - len(s), 0)) for s in sources]
    there = [np.arange(width) >= width - len(s) for s in sources]
    each = [
        batch(row, own.astype(np.int32), np.where(own, np.arange(width) - (~own).sum(), 0))
        for row, own in zip(rows, there, strict=True)
    ]
    prompts = jax.tree.map(lambda *leaves: np.concatenate(leaves), *each)

    @jax.jit
    def stepwise(weights, prompts):
        return all_logits(decodable, weights, prompts, classes.T)

    found, begin = np.asarray(stepwise(weights, prompts)), 0
    for row, (source, text) in enumerate(zip(sources, texts, strict=True)):
        own = logits[begin + len(source) - 1 : begin + len(text)]
        np.testing.assert_allclose(found[row], own, atol=1e-4)
        assert np.ptp(own) > 0.1
        begin += len(text)


def test_marks_and_unknown_words(make, plain, tasks):
    model, data = make(plain, (tasks["next"],))
    decoder = make_decoder(model, "next", affix_table(data.tokenizer))
    assert data.tokenizer.pieces[decoder.output_ids[decoder.end]] == "</s>"
