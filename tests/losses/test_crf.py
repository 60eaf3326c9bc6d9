import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import losses
from mtljax.losses import Transitions

logsumexp = np.logaddexp.reduce

# Two texts in the first row, of which the first has pieces that continue words, padding, one text.
TEXTS = np.array([[0, 1, 1, 0, 1, 2, 2], [3, 3, 3, 3, 0, 0, 0]], np.int32)
TARGETS = np.array([[2, 0, 2, 1, 1, 2, 0], [1, 1, 0, 2, -1, 0, 0]], np.int32)
TAGS = 3
PATHS = {n: np.array(list(itertools.product(range(TAGS), repeat=n))) for n in (2, 3, 4)}


def chains():
    for row in range(len(TEXTS)):
        for text in np.unique(TEXTS[row][TEXTS[row] > 0]):
            yield row, np.flatnonzero(TEXTS[row] == text)


def path_scores(scores, between, start, end):
    """All sequences of tags ``[sequences, n]`` and their scores."""
    paths = PATHS[len(scores)]
    steps = between[paths[:, :-1], paths[:, 1:]].sum(1)
    return paths, scores[np.arange(len(scores)), paths].sum(1) + steps + (
        start[paths[:, 0]] + end[paths[:, -1]]
    )


def enumerated(scores, between, start, end, targets=TARGETS):
    """Losses, marginals and best tags ``[R, S, ...]`` by enumeration in float64."""
    values, best = np.zeros(TEXTS.shape), np.zeros(TEXTS.shape, int)
    marginals = np.zeros((*TEXTS.shape, TAGS))
    for row, at in chains():
        paths, total = path_scores(scores[row, at], between, start, end)
        best[row, at] = paths[np.argmax(total)]
        fits = np.ones(len(paths), bool)
        before = logsumexp(total)
        for i, position in enumerate(at):
            share = np.exp(total - logsumexp(total))
            marginals[row, position] = [share[paths[:, i] == k].sum() for k in range(TAGS)]
            if targets[row, position] >= 0:
                fits &= paths[:, i] == targets[row, position]
                now = logsumexp(total[fits])
                values[row, position], before = before - now, now
    return values, marginals, best


def drawn(rng, forbid=()):
    scores, between, start, end = (
        rng.normal(size=s) * 2 for s in ((*TEXTS.shape, TAGS), (TAGS, TAGS), TAGS, TAGS)
    )
    for pair in forbid:
        between[pair] = -np.inf
    return scores, between, start, end


def arrays(parts, dtype):
    scores, *transitions = (np.asarray(part, dtype) for part in parts)
    return scores, Transitions(*transitions)


@jax.jit
def loss_and_gradient(scores, transitions, targets, weights):
    def total(scores, transitions):
        values = losses.crf(scores, targets, TEXTS, transitions)
        return jnp.sum(weights * values), values

    return jax.value_and_grad(total, (0, 1), has_aux=True)(scores, transitions)


viterbi = jax.jit(losses.viterbi)
ONES = np.ones(TEXTS.shape, np.float32)


def differences(function, parts, step=1e-6):
    """The gradient of a function of arrays by central differences."""
    slopes = []
    for i, part in enumerate(parts):
        slope = np.zeros(part.shape)
        for index in np.ndindex(part.shape):
            if np.isfinite(part[index]):
                moved = []
                for sign in (1, -1):
                    other = [p.copy() for p in parts]
                    other[i][index] += sign * step
                    moved.append(function(*other))
                slope[index] = (moved[0] - moved[1]) / (2 * step)
        slopes.append(slope)
    return slopes


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("forbid", [(), ((0, 1), (2, 2))])
def test_equals_enumeration(rng, missing, forbid):
    parts = drawn(rng, forbid)
    targets = TARGETS.copy()
    if missing:
        targets[0, [1, 5]] = targets[1, 1:3] = -1
    elif forbid:
        targets[0, [1, 2, 4]] = [0, 2, 1]
    weights = rng.uniform(0.5, 2, TEXTS.shape)
    expected = enumerated(*parts, targets)[0]
    assert np.isfinite(expected).all()
    slopes = differences(lambda *p: np.sum(weights * enumerated(*p, targets)[0]), parts)
    for dtype, tolerance in ((np.float32, 3e-6), (np.float64, 1e-7)):
        with jax.enable_x64(dtype == np.float64):
            result = loss_and_gradient(*arrays(parts, dtype), targets, weights.astype(dtype))
            (_, values), (of_scores, of_transitions) = result
        assert values.dtype == dtype
        np.testing.assert_allclose(values, expected, atol=1e-6 if dtype == np.float32 else 1e-12)
        for found, slope in zip((of_scores, *of_transitions), slopes, strict=True):
            np.testing.assert_allclose(found, slope, atol=tolerance)


def test_marginals_and_best_tags_equal_enumeration(rng):
    parts = drawn(rng, ((1, 0),))
    scores, transitions = arrays(parts, np.float32)
    _, marginals, best = enumerated(*parts, np.full(TEXTS.shape, -1))
    found = jax.jit(losses.crf_marginals)(scores, TEXTS, transitions)
    np.testing.assert_allclose(found, marginals, atol=1e-6)
    np.testing.assert_array_equal(viterbi(scores, TEXTS, transitions), best)


def test_the_partition_function_and_its_gradient(rng):
    parts = drawn(rng, ((1, 0),))
    scores, transitions = arrays(parts, np.float32)

    @jax.jit
    def both(scores):
        def total(scores):
            values = losses.crf_log_partition(scores, TEXTS, transitions)
            return jnp.sum(values), values

        return jax.grad(total, has_aux=True)(scores)

    slope, values = map(np.asarray, both(scores))
    for row, at in chains():
        _, total = path_scores(parts[0][row, at], *parts[1:])
        np.testing.assert_allclose(np.sum(values[row, at]), logsumexp(total), rtol=1e-6)
    np.testing.assert_array_equal(values[TEXTS == 0], 0)
    np.testing.assert_allclose(slope, enumerated(*parts, np.full(TEXTS.shape, -1))[1], atol=1e-6)


def test_without_transitions_it_is_a_softmax(rng):
    scores, _ = arrays(drawn(rng), np.float32)
    free = Transitions(*(np.zeros(shape, np.float32) for shape in ((TAGS, TAGS), TAGS, TAGS)))
    log_p = scores - logsumexp(scores, axis=-1, keepdims=True)
    picked = np.take_along_axis(log_p, np.maximum(TARGETS, 0)[..., None], -1)[..., 0]
    expected = np.where((TEXTS > 0) & (TARGETS >= 0), -picked, 0)
    (_, values), _ = loss_and_gradient(scores, free, TARGETS, ONES)
    np.testing.assert_allclose(values, expected, atol=1e-6)
    best = np.where(TEXTS > 0, np.argmax(scores, -1), 0)
    np.testing.assert_array_equal(viterbi(scores, TEXTS, free), best)


def test_scores_that_a_product_of_matrices_has_no_room_for(rng):
    # What is allowed is e^-400 of what is forbidden: float32 ends at e^-87.
    scores, *transitions = drawn(rng)
    scores[..., 1] += 400
    transitions[0][:, 1] = transitions[1][1] = -np.inf
    targets = np.where(TARGETS == 1, 0, TARGETS)
    result = loss_and_gradient(*arrays((scores, *transitions), np.float32), targets, ONES)
    (_, values), slopes = result
    expected = enumerated(scores, *transitions, targets)[0]
    # A float32 near 400 is known to 3e-5.
    np.testing.assert_allclose(values, expected, atol=6e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_forbidden_and_impossible_targets_say_so(rng):
    scores, *transitions = drawn(rng, ((0, 2),))
    targets = TARGETS.copy()
    targets[1, 1], targets[1, 3] = TAGS, 0
    result = loss_and_gradient(*arrays((scores, *transitions), np.float32), targets, ONES)
    (_, values), slopes = result
    # In the first row 2 follows 0; in the second the second tag is none.
    assert np.isinf(values[0, 2]) and np.isnan(values[1, 1])
    others = np.delete(np.ravel(values), [2, 8])
    assert np.isfinite(others).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_a_text_of_thousands_of_tags_loses_no_digits(rng):
    size = 4096
    parts = [rng.normal(size=s) for s in ((size, TAGS), (TAGS, TAGS), TAGS, TAGS)]
    targets = rng.integers(TAGS, size=size)
    scores, between, start, end = parts
    forward = start + scores[0]
    for score in scores[1:]:
        forward = logsumexp(forward[:, None] + between, axis=0) + score
    gold = scores[np.arange(size), targets].sum() + between[targets[:-1], targets[1:]].sum()
    expected = logsumexp(forward + end) - gold - start[targets[0]] - end[targets[-1]]
    scores, transitions = arrays(parts, np.float32)
    values = jax.jit(losses.crf)(scores, targets, np.ones(size, int), transitions)
    np.testing.assert_allclose(np.asarray(values, np.float64).sum(), expected, rtol=1e-7)


def test_wrong_arguments_are_named(rng):
    scores, transitions = arrays(drawn(rng), np.float32)
    with pytest.raises(ValueError, match="texts"):
        losses.crf(scores, TARGETS, TEXTS[:1], transitions)
    with pytest.raises(ValueError, match="start"):
        losses.crf(scores, TARGETS, TEXTS, transitions._replace(start=np.zeros(2)))
    with pytest.raises(TypeError, match="targets"):
        losses.crf(scores, TARGETS * 1.0, TEXTS, transitions)


def test_best_tags_of_any_number_of_texts_are_exported():
    rows, size = jax.export.symbolic_shape("r, s")
    shapes = (rows, size, TAGS), (TAGS, TAGS), (TAGS,), (TAGS,)
    scores, *transitions = (jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes)
    texts = jax.ShapeDtypeStruct((rows, size), np.int32)
    exported = jax.export.export(jax.jit(losses.viterbi))(scores, texts, Transitions(*transitions))
    assert exported.out_avals[0].shape == (rows, size)
