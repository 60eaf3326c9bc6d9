"""Models small enough to be gone through by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.generation import Decodable, recomputing

END, SIZE = 1, 7
IDS = np.arange(10, 10 + SIZE, dtype=np.int32)
"""The token of each class."""
TABLE = np.random.default_rng(0).normal(size=(32, SIZE)).astype(np.float32)


def bigram(table, tokens, lengths):
    """What follows depends on the last token."""
    last = jnp.take_along_axis(tokens, (lengths - 1)[:, None], axis=1)[:, 0]
    return jnp.asarray(table)[last]


BIGRAM = recomputing(bigram, IDS)


def counting(_, tokens, lengths):
    """Class 2 until a row has five tokens, then the end."""
    return 10.0 * jax.nn.one_hot(jnp.where(lengths < 5, 2, END), SIZE)


def prompts(rows, width=16):
    tokens = np.zeros((len(rows), width), np.int32)
    for row, prompt in enumerate(rows):
        tokens[row, : len(prompt)] = prompt
    return tokens, np.asarray([len(prompt) for prompt in rows], np.int32)


@functools.partial(jax.jit, static_argnums=0)
def keys(count):
    return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(3)))(jnp.arange(count))


def tree(size, depth, seed=0):
    """A model of classes whose logits depend on all that came before.

    Returns the model, whose prompts are int32 [R] numbers of a tree, and a function from a tree and
    the classes so far to the logits [size].
    """
    count = sum(size**level for level in range(depth + 1))
    table = 2 * np.random.default_rng(seed).normal(size=(3, count, size)).astype(np.float32)

    def prefill(params, numbers, room):
        numbers = jnp.asarray(numbers)
        node = jnp.zeros_like(numbers)
        return (numbers, node), jnp.asarray(table)[numbers, node]

    def step(params, state, classes, count):
        numbers, node = state
        node = node * size + classes + 1
        return (numbers, node), jnp.asarray(table)[numbers, node]

    def logits(number, classes):
        node = 0
        for one in classes:
            node = node * size + one + 1
        return table[number, node]

    return Decodable(prefill, step), logits
