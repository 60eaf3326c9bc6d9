import jax
import jax.numpy as jnp
import numpy as np

from mtljax.modules.beam_cache import (
    attend_branches,
    branched,
    own_lines,
    seen_branches,
    write_branches,
)
from mtljax.modules.keys_values import KeysValues, attend

ROWS, COUNT, HEADS, SIZE, READ, ROOM = 2, 3, 2, 4, 3, 4
PARENTS = [[[0, 0, 0], [0, 1, 0]], [[1, 0, 1], [2, 2, 0]], [[2, 1, 0], [0, 0, 1]]]
"""By turn, which branch each branch goes on from."""


def test_equals_caches_that_are_copied(rng):
    """Every turn the branches change places, and each reads a position of its own."""
    shape = (ROWS, HEADS, SIZE, READ + ROOM)
    past = KeysValues(*rng.normal(size=(2, *shape)).astype(np.float32))
    steps = rng.normal(size=(len(PARENTS), 3, ROWS * COUNT, HEADS, SIZE)).astype(np.float32)
    starts = np.repeat([0, 2], COUNT)

    @jax.jit
    def answers(past):
        copied = jax.tree.map(lambda x: jnp.repeat(x, COUNT, axis=0), past)
        apart, lines = branched(past, COUNT), own_lines(ROWS, COUNT, READ + ROOM)
        found, expected = [], []
        for turn, (query, key, value) in enumerate(steps):
            parents, column = jnp.array(PARENTS[turn]), READ + turn
            new = KeysValues(key[..., None], value[..., None])
            there = np.arange(READ + ROOM) <= column
            there = there & (np.arange(READ + ROOM) >= starts[:, None])
            rows = (jnp.arange(ROWS)[:, None] * COUNT + parents).reshape(-1)
            copied = KeysValues(
                *(x[rows].at[..., column].set(y[..., 0]) for x, y in zip(copied, new, strict=True))
            )
            expected.append(attend(query[:, None], copied, there[:, None, None]))
            lines = jnp.take_along_axis(lines, parents[..., None], axis=1)
            lines = lines.at[:, :, column].set(jnp.arange(COUNT))
            apart = write_branches(apart, new, column)
            found.append(attend_branches(query[:, None], apart, seen_branches(lines, there)))
        return found, expected

    found, expected = answers(past)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected[-1][0], expected[-1][1])
