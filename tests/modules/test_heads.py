import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules.heads import POOLINGS, Features, LanguageModelHead, SegmentHead, TokenHead
from tests.modules.conftest import drawn


@pytest.fixture
def features(rng, segments):
    hidden, embedded = rng.normal(size=(2, *segments.shape, 6)).astype(np.float32)
    table = rng.normal(size=(11, 6)).astype(np.float32)
    return Features(hidden, embedded, table, segments)


def drawn_for(head, *inputs):
    return drawn(lambda: head.init(jax.random.key(0), *inputs, train=False))


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_lookahead_sees_just_the_next_embeddings_of_its_segment(features, lookahead):
    head = TokenHead(3, lookahead=lookahead)
    variables = drawn_for(head, features)

    @jax.jit
    @functools.partial(jax.grad, argnums=2)
    def slope(row, column, embedded):
        out = head.apply(variables, features._replace(embedded=embedded), train=False)
        return out[row, column].sum()

    segments = np.asarray(features.segments)
    for row, column in [(0, 0), (0, 4), (0, 6), (0, 7), (2, 10), (2, 11)]:
        gradient = slope(row, column, features.embedded)
        seen = np.argwhere(np.abs(gradient).sum(-1) > 0).tolist()
        ahead = [
            [row, column + d]
            for d in range(1, lookahead + 1)
            if column + d < segments.shape[1] and segments[row, column + d] == segments[row, column]
        ]
        assert seen == ahead


def test_token_head_is_a_map_of_each_position(features):
    head = TokenHead(3, lookahead=0, hidden=5)
    variables = drawn_for(head, features)
    out = jax.jit(functools.partial(head.apply, train=False))(variables, features)
    p = variables["params"]
    inner = np.maximum(features.hidden @ p["hidden"]["kernel"] + p["hidden"]["bias"], 0)
    np.testing.assert_allclose(out, inner @ p["out"]["kernel"] + p["out"]["bias"], atol=1e-5)


@pytest.mark.parametrize("hidden", [0, 5])
def test_segment_head(features, hidden):
    head = SegmentHead(3, POOLINGS, hidden=hidden)
    variables = drawn_for(head, features, 4)
    apply = jax.jit(functools.partial(head.apply, count=4, train=False))
    out = apply(variables, features)
    assert out.shape == (4, 4, 3) and out.dtype == jnp.float32
    width = variables["params"]["hidden" if hidden else "out"]["kernel"].shape[0]
    assert width == 6 * len(POOLINGS)
    # A text's prediction is its own: no other text of the row has a part in it.
    hidden = features.hidden.copy()
    hidden[0, 5:] += 1.0
    changed = np.asarray(apply(variables, features._replace(hidden=hidden))) != np.asarray(out)
    assert changed.any(-1)[0].tolist() == [False, True, True, False]
    assert not changed[1:].any()


def test_tied_readout(features):
    ids = np.array([1, 3, 4, 10])
    head = LanguageModelHead(4)
    variables = drawn_for(head, features, ids)

    @jax.jit
    def run(variables, features):
        readout = head.apply(variables, features, ids, train=False)
        return readout, readout.logits()

    readout, logits = run(variables, features)
    p, bias = variables["params"]["project"], variables["params"]["bias"]
    queries = features.hidden @ p["kernel"] + p["bias"]
    expected = np.einsum("rse,ve->rsv", queries, features.table[ids]) + bias
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert readout.table.shape == (4, 6) and readout.queries.shape == (4, 12, 6)


def test_readout_without_projection(features):
    head = LanguageModelHead(2, project=False)
    ids = np.array([1, 3])
    variables = drawn_for(head, features, ids)
    readout = jax.jit(functools.partial(head.apply, train=False))(variables, features, ids)
    assert set(variables["params"]) == {"bias"}
    np.testing.assert_array_equal(readout.queries, features.hidden)


@pytest.mark.parametrize(
    "head, arguments",
    [
        (SegmentHead(2, dropout=0.5), (4,)),
        (SegmentHead(2, hidden=5, dropout=0.5), (4,)),
        (TokenHead(2, hidden=5, dropout=0.5), ()),
    ],
)
def test_dropout_acts_in_training_alone(features, head, arguments):
    variables = drawn_for(head, features, *arguments)

    @functools.partial(jax.jit, static_argnums=0)
    def run(train, seed):
        rngs = {"dropout": jax.random.key(seed)}
        return head.apply(variables, features, *arguments, train=train, rngs=rngs)

    np.testing.assert_array_equal(run(False, 0), run(False, 1))
    np.testing.assert_array_equal(run(True, 0), run(True, 0))
    assert not np.array_equal(run(True, 0), run(True, 1))
