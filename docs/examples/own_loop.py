"""A loop of one's own: per-task gradients, then an Optax chain that begins with a method.

Everything after the method sees one direction in the shape of the parameters, so that clipping,
weight decay and schedules of Optax are what they always are.
"""

import jax
import jax.numpy as jnp
import optax

from mtljax import weighting
from mtljax.optim import multi_objective

TARGETS = jnp.array([[1.0, 0.0], [0.8, 0.6], [-0.6, 0.8]])


def task_losses(params):  # [T]
    return jnp.sum((params["w"] - TARGETS) ** 2, axis=1)


def main():
    chain = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.5))
    optimizer = multi_objective(weighting.cagrad(c=0.4), chain, num_tasks=3)
    params = {"w": jnp.array([2.0, -2.0])}

    @jax.jit
    def update(params, state):
        losses, grads = task_losses(params), jax.jacrev(task_losses)(params)  # [T], [T, *param]
        updates, state = optimizer.update(grads, state, params, losses=losses)
        return optax.apply_updates(params, updates), state, losses

    state = optimizer.init(params)
    for _ in range(100):
        params, state, losses = update(params, state)
    print(params["w"], losses)  # their mean, where no task can gain without the mean losing
    return params["w"], losses


if __name__ == "__main__":
    main()
