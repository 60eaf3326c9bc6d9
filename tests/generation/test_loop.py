import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.generation import decode, padded_length

END, SIZE = 1, 7
IDS = np.arange(10, 10 + SIZE, dtype=np.int32)  # the token of each class
TABLE = np.random.default_rng(0).normal(size=(32, SIZE)).astype(np.float32)


def next_logits(tokens, lengths):
    """A bigram model: what follows depends on the last token."""
    last = jnp.take_along_axis(tokens, (lengths - 1)[:, None], axis=1)[:, 0]
    return jnp.asarray(TABLE)[last]


def counting(tokens, lengths):
    """Class 2 until a row has five tokens, then the end."""
    wanted = jnp.where(lengths < 5, 2, END)
    return 10.0 * jax.nn.one_hot(wanted, SIZE)


def prompts(rows, width=16):
    tokens = np.zeros((len(rows), width), np.int32)
    for row, prompt in enumerate(rows):
        tokens[row, : len(prompt)] = prompt
    return tokens, np.asarray([len(prompt) for prompt in rows], np.int32)


def keys(count):
    return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(3)))(jnp.arange(count))


@pytest.mark.parametrize("jitted", [False, True])
def test_greedy_follows_the_largest_logit(jitted):
    tokens, lengths = prompts([[10], [11, 12]])
    function = functools.partial(decode, next_logits, IDS, temperature=0.0, max_tokens=6)
    found = (jax.jit(function) if jitted else function)(tokens, lengths, keys(2))
    for row, prompt in enumerate([[10], [11, 12]]):
        for _ in range(6):
            prompt.append(int(IDS[TABLE[prompt[-1]].argmax()]))
        assert found.tokens[row, : found.lengths[row]].tolist() == prompt
    assert not found.ended.any()


def test_rows_end_on_their_own_and_without_the_end_mark():
    tokens, lengths = prompts([[10], [10, 12, 12, 12], [10] * 9])
    found = decode(counting, IDS, tokens, lengths, keys(3), max_tokens=8, temperature=0.0, end=END)
    assert found.lengths.tolist() == [5, 5, 9]
    assert found.ended.all()
    assert found.tokens[0].tolist() == [10, 12, 12, 12, 12] + [0] * 11
    np.testing.assert_array_equal(found.tokens[2], tokens[2])


def test_stops_after_max_tokens_and_where_the_row_is_full():
    tokens, lengths = prompts([[10], [10] * 14], width=16)
    found = decode(next_logits, IDS, tokens, lengths, keys(2), max_tokens=5)
    assert found.lengths.tolist() == [6, 16]
    none = decode(next_logits, IDS, tokens, lengths, keys(2), max_tokens=0)
    np.testing.assert_array_equal(none.tokens, tokens)


def test_a_row_does_not_depend_on_its_neighbours():
    run = jax.jit(functools.partial(decode, next_logits, IDS, max_tokens=9, end=END, top_p=0.9))
    rows = [[10], [11, 12], [13], [14, 10, 11]]
    tokens, lengths = prompts(rows)
    whole = run(tokens, lengths, keys(4))
    order = np.array([2, 0, 3, 1])
    mixed = run(tokens[order], lengths[order], keys(4)[order])
    np.testing.assert_array_equal(np.asarray(whole.tokens)[order], mixed.tokens)
    for row in range(4):
        alone = run(tokens[[row]], lengths[[row]], keys(4)[row][None])
        np.testing.assert_array_equal(alone.tokens[0], whole.tokens[row])


def test_the_key_decides():
    tokens, lengths = prompts([[10], [10]])
    found = decode(next_logits, IDS, tokens, lengths, keys(2), max_tokens=12)
    assert found.tokens[0].tolist() != found.tokens[1].tolist()
    again = decode(next_logits, IDS, tokens, lengths, keys(2), max_tokens=12)
    np.testing.assert_array_equal(found.tokens, again.tokens)


def test_banned_classes_are_never_drawn():
    tokens, lengths = prompts([[10]] * 8, width=64)
    found = decode(
        next_logits, IDS, tokens, lengths, keys(8), max_tokens=60, temperature=5.0, banned=(0, 4)
    )
    assert not np.isin(np.asarray(found.tokens)[:, 1:], [10, 14]).any()


def test_what_stands_behind_the_length_is_overwritten():
    tokens, lengths = prompts([[10]])
    tokens[0, 1:] = 31
    found = decode(next_logits, IDS, tokens, lengths, keys(1), max_tokens=3, temperature=0.0)
    clean = decode(next_logits, IDS, *prompts([[10]]), keys(1), max_tokens=3, temperature=0.0)
    assert found.tokens[0, :4].tolist() == clean.tokens[0, :4].tolist()


def test_padded_length():
    assert [padded_length(n, 8) for n in (0, 1, 8, 9)] == [8, 8, 8, 16]
