"""Which tasks to train together: groups by the affinities of their gradients.

Six tasks on one shared layer: two families, and within a family tasks want much the same of it.
The losses and inner products of one step give the affinities; the best partition into at most two
groups is exact for so few tasks.
"""

import jax
import jax.numpy as jnp

from mtljax import gradients, relatedness

NAMES = ("a1", "b1", "a2", "b2", "a3", "b3")


def main():
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(keys[0], (256, 10))
    families = jax.random.normal(keys[1], (2, 10))
    own = 0.3 * jax.random.normal(keys[2], (6, 10))
    wanted = x @ (families[jnp.array([0, 1, 0, 1, 0, 1])] + own).T  # [256, 6]
    shared = jax.random.normal(keys[3], (10,))

    def losses_of(shared):
        return jnp.mean((x @ shared - wanted.T) ** 2, axis=1)

    @jax.jit
    def affinities(shared):
        gramian = gradients.gramian(jax.jacrev(losses_of)(shared))
        return relatedness.first_order_affinity(losses_of(shared), gramian, 0.01)

    found = relatedness.best_grouping(affinities(shared), groups=2)
    groups = [[n for n, g in zip(NAMES, found.labels, strict=True) if g == k] for k in (0, 1)]
    print("train together:", groups)
    return groups


if __name__ == "__main__":
    main()
