"""A front of solutions, one for each preference.

Two losses that cannot both be small, and whose front bends outward: fixed weights end at one of
its two ends, whichever they are; `pbi` finds the point on each ray.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtljax import optim, weighting

SHARES = np.linspace(0.1, 0.9, 9)
RATE = optax.cosine_decay_schedule(0.03, 300)
AWAY = jnp.ones(3) / jnp.sqrt(3.0)


def losses_of(w):
    """Fonseca and Fleming's problem, whose front is not convex."""
    return jnp.stack([1 - jnp.exp(-jnp.sum((w - a) ** 2)) for a in (AWAY, -AWAY)])


def solution(method):
    optimizer = optim.multi_objective(method, optax.adam(RATE), num_tasks=2)
    start = jnp.array([0.1, -0.1, 0.0])

    def step(carry, _):
        w, state = carry
        losses, gradients = losses_of(w), jax.jacrev(losses_of)(w)
        updates, state = optimizer.update(gradients, state, w, losses=losses)
        return (w + updates, state), None

    (w, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=300)
    return losses_of(w)


def main():
    solve = jax.jit(solution, static_argnums=0)
    return {
        "fixed": np.array([solve(weighting.fixed([s, 1 - s])) for s in SHARES[[1, 3, 5, 7]]]),
        "pbi": np.array([solve(weighting.pbi([s, 1 - s])) for s in SHARES]),
    }


def draw(found, file):
    import matplotlib.pyplot as plt

    front = np.linspace(-1, 1, 200)[:, None] * np.asarray(AWAY)
    figure, axes = plt.subplots(figsize=(5, 4))
    axes.plot(*np.array([losses_of(w) for w in front]).T, color="grey", linewidth=1)
    for name, points in found.items():
        axes.plot(*points.T, "o" if name == "pbi" else "x", label=name)
    axes.set(xlabel="first loss", ylabel="second loss")
    axes.legend(frameon=False)
    figure.savefig(file, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    draw(main(), "preferences.png")
