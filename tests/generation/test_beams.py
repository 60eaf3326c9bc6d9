import functools
import itertools

import jax
import numpy as np
import pytest

from mtljax.generation import GREEDY, beam_search, decode
from tests.generation.toy import keys, tree

SIZE, LENGTH, END = 3, 4, 1
MODEL, LOGITS = tree(SIZE, LENGTH)
ROWS = np.arange(3)


def log_shares(number, text):
    values = LOGITS(number, text).astype(np.float64)
    return values - np.log(np.exp(values - values.max()).sum()) - values.max()


def exhaustive(number, penalty, limit=LENGTH):
    """All texts with their scores, the best first."""
    found = []
    for length in range(1, limit + 1):
        for text in itertools.product(range(SIZE), repeat=length):
            complete = text[-1] == END
            if END in text[:-1] or (length < limit and not complete):
                continue
            total = sum(log_shares(number, text[:i])[text[i]] for i in range(length))
            found.append((total / length**penalty, text[:-1] if complete else text))
    return sorted(found, reverse=True)


@functools.partial(
    jax.jit, static_argnames=("beams", "returns", "banned", "ends", "no_repeat_ngram")
)
def run(rows, beams, limits=LENGTH, ends=(END,), **options):
    return beam_search(MODEL, None, rows, limits, LENGTH, beams, ends=ends, **options)


def search(beams, **options):
    return run(ROWS, beams, **options)


def texts(found, row):
    return [
        tokens[:length].tolist()
        for tokens, length in zip(found.tokens[row], found.lengths[row], strict=True)
    ]


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0, -1.0])
def test_a_beam_of_all_texts_is_exhaustive(penalty):
    found = search(SIZE**LENGTH, returns=5, length_penalty=penalty)
    for row in ROWS:
        expected = exhaustive(row, penalty)[:5]
        assert texts(found, row) == [list(text) for _, text in expected]
        np.testing.assert_allclose(found.scores[row], [s for s, _ in expected], rtol=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_of_one_is_greedy(penalty):
    plain = decode(MODEL, None, ROWS, keys(3), LENGTH, LENGTH, GREEDY, ends=(END,))
    found = search(1, length_penalty=penalty)
    np.testing.assert_array_equal(found.tokens[:, 0], plain.tokens)
    np.testing.assert_array_equal(found.lengths[:, 0], plain.lengths)
    np.testing.assert_array_equal(found.ended[:, 0], plain.ended)


def simple_beam(number, beams, limit):
    """Lists and sorts: what `beam_search` does, for one row and a penalty of 0."""
    live, done = [(0.0, ())], []
    for _ in range(limit):
        grown = [
            (total + log_shares(number, text)[one], (*text, one))
            for total, text in live
            for one in range(SIZE)
        ]
        grown.sort(reverse=True)
        done += [(total, text[:-1]) for total, text in grown[:beams] if text[-1] == END]
        live = [(total, text) for total, text in grown if text[-1] != END][:beams]
        done = sorted(done, reverse=True)[:beams]
        if len(done) == beams or (done and done[0][0] >= live[0][0]):
            return done[0]
    return max(done + live)


@pytest.mark.parametrize("beams", [2, 3, 4])
def test_agrees_with_lists_and_sorts(beams):
    limits = np.array([4, 3, 2])
    found = search(beams, length_penalty=0.0, limits=limits)
    for row in ROWS:
        score, text = simple_beam(row, beams, limits[row])
        assert texts(found, row) == [list(text)]
        np.testing.assert_allclose(found.scores[row, 0], score, rtol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours():
    whole = search(3, returns=2)
    for row in ROWS:
        alone = run(ROWS[[row]], 3, returns=2)
        for found, expected in zip(alone, whole, strict=True):
            np.testing.assert_allclose(found[0], expected[row], rtol=1e-6)


def test_a_row_without_room_has_the_empty_text():
    found = search(2, limits=np.array([0, 1, 0]))
    assert found.lengths[::2, 0].tolist() == [0, 0]
    assert not found.ended[::2].any()
    assert (np.asarray(found.tokens[::2]) == -1).all()


def test_forbidden_classes_and_repetitions():
    found = search(4, returns=3, banned=(0,))
    assert not (np.asarray(found.tokens) == 0).any()
    assert {text for row in ROWS for text in map(tuple, texts(found, row))} <= {
        (), (2,), (2, 2), (2, 2, 2), (2, 2, 2, 2)
    }  # fmt: skip


def test_no_text_has_an_ngram_twice():
    found = search(27, returns=20, limits=3, ends=(), no_repeat_ngram=1)
    finite = np.isfinite(found.scores)
    assert finite.sum(1).tolist() == [6, 6, 6]  # orders of three classes
    for tokens in np.asarray(found.tokens)[finite]:
        assert sorted(tokens[:3].tolist()) == [0, 1, 2]


def test_a_penalty_of_repetitions_makes_log_probabilities_smaller():
    context = np.full((3, 1), 2)
    found = search(3, returns=3, limits=1, ends=(), context=context, repetition_penalty=2.0)
    for row in ROWS:
        expected = log_shares(row, ())
        expected[2] *= 2
        np.testing.assert_allclose(found.scores[row], np.sort(expected)[::-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"beams": 0}, "beams must be at least 1"), ({"beams": 2, "returns": 3}, "returns must be")],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        search(**options)
