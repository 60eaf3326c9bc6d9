import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from mtljax.modules.embedding import TokenEmbedding
from mtljax.special_tokens import OOV
from tests.modules.conftest import drawn

TOKENS = np.array([[2, 5, 6, 0], [2, 9, 0, 0]])
AFFIXES = np.array([[[0, 0], [3, 4], [3, 0], [0, 0]], [[0, 0], [7, 7], [0, 0], [0, 0]]])


@pytest.fixture(scope="module")
def model_and_params():
    model = TokenEmbedding(10, 4, affix_buckets=8)
    init = functools.partial(model.init, train=False)
    return model, drawn(lambda: nn.unbox(init(jax.random.key(0), TOKENS, AFFIXES))["params"])


@functools.partial(jax.jit, static_argnums=0)
def run(model, params, *inputs):
    return model.apply({"params": params}, *inputs, train=False)


def test_word_plus_scaled_sum_of_affixes(model_and_params):
    model, params = model_and_params
    vectors, table = run(model, params, TOKENS, AFFIXES)
    words, affixes = (np.asarray(params[name]) for name in ("words", "affixes"))
    for row, column in np.ndindex(*TOKENS.shape):
        parts = [a for a in AFFIXES[row, column].tolist() if a]
        expected = words[TOKENS[row, column]]
        if parts:
            expected = expected + sum(affixes[a] for a in parts) / np.sqrt(len(parts))
        np.testing.assert_allclose(vectors[row, column], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(table, words)


def test_without_affixes():
    model = TokenEmbedding(10, 4)
    init = functools.partial(model.init, train=False)
    params = drawn(lambda: nn.unbox(init(jax.random.key(0), TOKENS))["params"])
    assert set(params) == {"words"}
    vectors, table = run(model, params, TOKENS)
    np.testing.assert_array_equal(vectors, np.asarray(table)[TOKENS])


def test_the_scale_is_of_vectors_not_of_the_table(model_and_params):
    model, params = model_and_params
    plain = run(model, params, TOKENS, AFFIXES)
    larger = run(model.clone(scale=3.0), params, TOKENS, AFFIXES)
    np.testing.assert_allclose(larger.vectors, 3 * plain.vectors, rtol=1e-6)
    np.testing.assert_array_equal(larger.table, plain.table)


def dropped(params, **rates):
    tokens = np.full((50, 40), 5)
    affixes = np.broadcast_to([3, 4], (50, 40, 2))
    model = TokenEmbedding(10, 4, affix_buckets=8, **rates)
    run = jax.jit(functools.partial(model.apply, train=True))
    out = run({"params": params}, tokens, affixes, rngs={"dropout": jax.random.key(1)})
    return np.asarray(out.vectors)


def test_word_dropout_keeps_affixes(model_and_params):
    _, params = model_and_params
    affixes = (params["affixes"][3] + params["affixes"][4]) / np.sqrt(2)
    vectors = dropped(params, word_dropout=0.25)
    kept = np.isclose(vectors, params["words"][5] + affixes, atol=1e-5).all(-1)
    unknown = np.isclose(vectors, params["words"][OOV] + affixes, atol=1e-5).all(-1)
    assert (kept ^ unknown).all()
    assert abs(unknown.mean() - 0.25) < 0.05


def test_token_dropout_takes_affixes_along(model_and_params):
    _, params = model_and_params
    affixes = (params["affixes"][3] + params["affixes"][4]) / np.sqrt(2)
    vectors = dropped(params, token_dropout=0.25)
    kept = np.isclose(vectors, params["words"][5] + affixes, atol=1e-5).all(-1)
    unknown = np.isclose(vectors, params["words"][OOV], atol=1e-5).all(-1)
    assert (kept ^ unknown).all()
    assert abs(unknown.mean() - 0.25) < 0.05


def test_embedding_dropout_is_one_mask_a_row(model_and_params):
    _, params = model_and_params
    zeros = dropped(params, dropout=0.5) == 0
    np.testing.assert_array_equal(zeros, np.broadcast_to(zeros[:, :1], zeros.shape))
    assert 0.3 < zeros[:, 0].mean() < 0.7
