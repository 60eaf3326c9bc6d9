import functools

import jax
import numpy as np
import pytest

from mtljax.generation import GREEDY, Sampling, advance, begin, decode, recomputing
from mtljax.generation.loop import padded_length
from tests.generation.toy import BIGRAM, END, IDS, SIZE, TABLE, counting, keys, prompts, tree


def greedy(prompt, count):
    """The classes that follow."""
    last, found = prompt[-1], []
    for _ in range(count):
        found.append(int(TABLE[last].argmax()))
        last = int(IDS[found[-1]])
    return found


@pytest.mark.parametrize("jitted", [False, True])
def test_greedy_follows_the_largest_logit(jitted):
    def run(tokens, lengths):
        return decode(BIGRAM, TABLE, (tokens, lengths), keys(2), 6, 8, GREEDY)

    found = (jax.jit(run) if jitted else run)(*prompts([[10], [11, 12]]))
    for row, prompt in enumerate([[10], [11, 12]]):
        assert found.tokens[row].tolist() == [*greedy(prompt, 6), -1, -1]
    assert found.lengths.tolist() == [6, 6]
    assert not found.ended.any()


def decoded(model, params, rows, keys, limits, room, how=Sampling(), **options):  # noqa: B008
    """`decode` in one program."""

    @jax.jit
    def run(rows, keys, limits):
        return decode(model, params, rows, keys, limits, room, how, **options)

    return run(rows, keys, limits)


def test_rows_end_on_their_own_and_without_the_end_mark():
    model = recomputing(counting, IDS)
    rows = prompts([[10], [10, 12, 12, 12], [10] * 9])
    found = decoded(model, None, rows, keys(3), 8, 8, GREEDY, ends=(END,))
    assert found.lengths.tolist() == [4, 1, 0]
    assert found.ended.all()
    assert found.tokens[0].tolist() == [2, 2, 2, 2, -1, -1, -1, -1]
    assert found.tokens[2].tolist() == [-1] * 8


def test_any_of_several_ends():
    found = decoded(BIGRAM, TABLE, prompts([[10]] * 5), keys(5), 30, 30, ends=(END, 3, 5))
    assert found.ended.any()
    assert not np.isin(found.tokens, [END, 3, 5]).any()


def test_each_row_has_its_limit():
    found = decoded(BIGRAM, TABLE, prompts([[10], [10], [10]]), keys(3), np.array([5, 0, 99]), 8)
    assert found.lengths.tolist() == [5, 0, 8]
    np.testing.assert_array_equal((np.asarray(found.tokens) >= 0).sum(1), found.lengths)


@pytest.fixture(scope="module")
def drawn():
    """Draws from prompts, with penalties."""

    @jax.jit
    def run(tokens, lengths, keys):
        how = Sampling(top_p=0.9, repetition_penalty=1.1)
        return decode(BIGRAM, TABLE, (tokens, lengths), keys, 9, 9, how, ends=(END,))

    return run


def test_a_row_does_not_depend_on_its_neighbours(drawn):
    tokens, lengths = prompts([[10], [11, 12], [13], [14, 10, 11]])
    whole = drawn(tokens, lengths, keys(4))
    order = np.array([2, 0, 3, 1])
    mixed = drawn(tokens[order], lengths[order], keys(4)[order])
    np.testing.assert_array_equal(np.asarray(whole.tokens)[order], mixed.tokens)
    for row in range(4):
        alone = drawn(tokens[[row]], lengths[[row]], keys(4)[row][None])
        np.testing.assert_array_equal(alone.tokens[0], whole.tokens[row])


def test_the_key_decides(drawn):
    tokens, lengths = prompts([[10], [10]])
    found = drawn(tokens, lengths, keys(2))
    assert found.tokens[0].tolist() != found.tokens[1].tolist()
    np.testing.assert_array_equal(found.tokens, drawn(tokens, lengths, keys(2)).tokens)


def test_samples_are_rows_of_the_same_prompt():
    rows = prompts([[10], [11, 12]])
    several = decoded(BIGRAM, TABLE, rows, keys(6), np.array([9, 4]), 9, samples=3)
    repeated = tuple(np.repeat(x, 3, axis=0) for x in rows)
    apart = decoded(BIGRAM, TABLE, repeated, keys(6), np.repeat([9, 4], 3), 9)
    np.testing.assert_array_equal(several.tokens, apart.tokens)


@pytest.mark.parametrize("every", [1, 4])
def test_stopping_in_between_changes_nothing(every):
    rows = begin(BIGRAM, TABLE, prompts([[10], [11]]), keys(2), 9, 9)
    whole = advance(BIGRAM, TABLE, rows)
    go_on = jax.jit(functools.partial(advance, BIGRAM, TABLE), donate_argnums=0)
    while rows.going.any():
        rows = go_on(rows, until=rows.count + every)
    np.testing.assert_array_equal(rows.tokens, whole.tokens)
    assert rows.count == 9


def test_a_row_can_go_on_as_the_next_prompt_of_itself():
    whole = decoded(BIGRAM, TABLE, prompts([[10]]), keys(1), 8, 8).tokens[0].tolist()
    text = [10, *(int(IDS[one]) for one in whole[:5])]
    rows = begin(BIGRAM, TABLE, prompts([text]), keys(1), 3, 3, first=5)
    assert advance(BIGRAM, TABLE, rows).tokens[0].tolist() == whole[5:]


def test_banned_classes_are_never_drawn():
    how = Sampling(temperature=5.0)
    rows = prompts([[10]] * 8)
    found = decoded(BIGRAM, TABLE, rows, keys(8), 60, 60, how, banned=(0, 4))
    assert set(np.unique(found.tokens)) == set(range(SIZE)) - {0, 4}


def test_no_ngram_comes_twice_with_those_of_the_prompt():
    context = np.array([[-1, -1, 2, 3], [2, 2, 5, 2]])
    rows = prompts([[12, 13], [12, 12, 15, 12]])
    found = decoded(
        BIGRAM, TABLE, rows, keys(2), 30, 30, GREEDY, context=context, no_repeat_ngram=2
    )
    for before, after in zip(context, np.asarray(found.tokens), strict=True):
        text = [one for one in [*before.tolist(), *after.tolist()] if one >= 0]
        pairs = list(zip(text, text[1:], strict=False))
        assert len(set(pairs)) == len(pairs)


def test_a_penalty_sees_the_prompt_and_the_text():
    model, logits = tree(4, 3)
    how = Sampling(temperature=0.0, repetition_penalty=3.0)
    context = np.array([[-1, 2]])
    found = decoded(model, None, np.array([0]), keys(1), 3, 3, how, context=context)
    text = []
    for _ in range(3):
        values = logits(0, text).copy()
        for one in {2, *text}:
            values[one] = values[one] / 3 if values[one] > 0 else values[one] * 3
        text.append(int(values.argmax()))
    assert found.tokens[0].tolist() == text


def test_what_stands_behind_the_length_is_overwritten():
    tokens, lengths = prompts([[10]])
    tokens[0, 1:] = 31
    found = decoded(BIGRAM, TABLE, (tokens, lengths), keys(1), 3, 3, GREEDY)
    assert found.tokens[0].tolist() == greedy([10], 3)


def test_padded_length():
    assert [padded_length(n, 8) for n in (0, 1, 8, 9, 16, 17)] == [8, 8, 8, 16, 16, 32]
