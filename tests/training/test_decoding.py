import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.errors import UserError
from mtljax.modules import encode, predict
from mtljax.training.decoding import Decoding, check_decoding, make_decodable, make_decoder, prepare
from mtljax.training.prompts import affix_table
from mtljax.training.restore import initial_params

LENGTHS, ROOM = np.array([5, 1, 3]), 4


@pytest.mark.parametrize("kind", ["transformer", "lstm", "linear"])
def test_the_logits_of_a_step_are_those_of_the_whole_text(kind, make, plain, tasks):
    encoder = dataclasses.replace(plain.encoder, kind=kind, heads=2)
    model, data = make(dataclasses.replace(plain, encoder=encoder), (tasks["next"],))
    params = jax.jit(lambda: initial_params(model))()
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    params = jax.tree.unflatten(
        tree, [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    )
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
        state, logits = decodable.prefill(weights, batch, ROOM)
        found = [logits]
        for count in range(ROOM):
            read = jnp.asarray(classes[np.arange(3), LENGTHS + count])
            state, logits = decodable.step(weights, state, read, jnp.asarray(count))
            found.append(logits)
        return jnp.stack(found, axis=1)

    expected, found = np.asarray(whole(params)), np.asarray(stepwise(params))
    assert found.dtype == np.float32
    for row, length in enumerate(LENGTHS):
        own = expected[row, length - 1 : length + ROOM]
        np.testing.assert_allclose(found[row], own, atol=1e-4)
        assert np.ptp(own) > 0.1


def test_marks_and_unknown_words(make, plain, tasks):
    model, data = make(plain, (tasks["next"],))
    decoder = make_decoder(model, "next", affix_table(data.tokenizer))
    assert data.tokenizer.pieces[decoder.output_ids[decoder.end]] == "</s>"


@pytest.mark.parametrize("beam", [0, 1, 7])
def test_a_beam_as_wide_as_the_vocabulary(beam):
    check_decoding(Decoding(beam=beam), 7)
    with pytest.raises(UserError, match=r"beam: must be in \[0, 7\], the size of the vocabulary"):
        check_decoding(Decoding(beam=8), 7)
