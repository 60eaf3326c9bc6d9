"""A method of one's own: weights by a softmax of the losses, so that the worst task leads.

`weighting.guard` adds what all methods share: absent tasks, numbers that are not finite, checks
of shapes. The formula is all that is left; the method then works in a train step, in an Optax
optimizer, and alone.
"""

import jax
import jax.numpy as jnp

from mtljax import weighting


def worst_first(temperature=1.0):
    """Weights that sum to 1: the larger a loss, the larger its weight."""

    def init(num_tasks):
        return ()

    def update(losses, state, *, present):
        return jax.nn.softmax(losses / temperature, where=present), state

    def fallback(state, counted):
        return counted / jnp.maximum(jnp.sum(counted), 1)

    return weighting.guard(init, update, fallback=fallback)


def main():
    method = worst_first(0.5)
    state = method.init(3)
    update = jax.jit(method.update)
    weights, state = update(jnp.array([0.5, 1.0, 2.0]), state)
    absent, state = update(jnp.array([0.5, 1.0, 2.0]), state, mask=jnp.array([True, True, False]))
    broken, state = update(jnp.array([0.5, jnp.nan, 2.0]), state)
    print(weights, absent, broken, sep="\n")
    return weights, absent, broken


if __name__ == "__main__":
    main()
