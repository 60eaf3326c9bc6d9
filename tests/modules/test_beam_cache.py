import jax
import jax.numpy as jnp
import numpy as np

from mtljax.modules.beam_cache import (
    attend_beams,
    beam_mask,
    initial_owners,
    repeat_for_beams,
    write_beams,
)
from mtljax.modules.keys_values import KeysValues, attend

PROMPTS, BEAMS, HEADS, SIZE, READ, ROOM = 2, 3, 2, 4, 3, 4
PARENTS = [[[0, 0, 0], [0, 1, 0]], [[1, 0, 1], [2, 2, 0]], [[2, 1, 0], [0, 0, 1]]]
"""By step, the beam that each beam continues from."""


def test_equals_caches_that_are_copied(rng):
    """Every step the beams change places, and each reads a position of its own."""
    shape = (PROMPTS, HEADS, SIZE, READ + ROOM)
    past = KeysValues(*rng.normal(size=(2, *shape)).astype(np.float32))
    # Two queries share each key, and each head has a bias for each column.
    steps = rng.normal(size=(len(PARENTS), 4, PROMPTS * BEAMS, HEADS, SIZE)).astype(np.float32)
    bias = rng.normal(size=(1, 2 * HEADS, 1, READ + ROOM)).astype(np.float32)
    starts = np.repeat([0, 2], BEAMS)

    @jax.jit
    def answers(past):
        copied = jax.tree.map(lambda x: jnp.repeat(x, BEAMS, axis=0), past)
        cache, owners = repeat_for_beams(past, BEAMS), initial_owners(PROMPTS, BEAMS, READ + ROOM)
        found, expected = [], []
        for step, (query, other, key, value) in enumerate(steps):
            query = np.stack([query, other], 2).reshape(-1, 2 * HEADS, SIZE)
            parents, column = jnp.array(PARENTS[step]), READ + step
            new = KeysValues(key[..., None], value[..., None])
            there = np.arange(READ + ROOM) <= column
            there = there & (np.arange(READ + ROOM) >= starts[:, None])
            rows = (jnp.arange(PROMPTS)[:, None] * BEAMS + parents).reshape(-1)
            copied = KeysValues(
                *(x[rows].at[..., column].set(y[..., 0]) for x, y in zip(copied, new, strict=True))
            )
            expected.append(attend(query[:, None], copied, there[:, None, None], bias))
            owners = jnp.take_along_axis(owners, parents[..., None], axis=1)
            owners = owners.at[:, :, column].set(jnp.arange(BEAMS))
            cache = write_beams(cache, new, column)
            seen, of_beams = beam_mask(owners, there), np.repeat(bias, BEAMS, axis=-1)
            found.append(attend_beams(query[:, None], cache, seen, of_beams))
        return found, expected

    found, expected = answers(past)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected[-1][0], expected[-1][1])
