"""Two tasks that pull apart, and which way methods go.

Two bowls, of which one is twenty times as steep across. All methods end on the grey line, where no
loss can fall unless the other grows, but elsewhere: the mean of the losses in its middle, whatever
the start, MGDA where the gentle task is best, PCGrad and UPGrad near the start.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtljax import optim, weighting

METHODS = {
    "mean": weighting.equal(),
    "mgda": weighting.mgda(),
    "pcgrad": weighting.pcgrad(),
    "upgrad": weighting.upgrad(),
}
CENTRES = np.array([[-1.0, 0.0], [1.0, 0.0]])
STEEP = np.array([[1.0, 1.0], [1.0, 20.0]])
START = jnp.array([-0.6, 1.6])


def losses_of(w):
    return jnp.sum(STEEP * (w - CENTRES) ** 2, axis=1) / 2


def path(method):
    optimizer = optim.multi_objective(method, optax.sgd(0.04), num_tasks=2)

    def step(carry, _):
        w, state = carry
        gradients, losses = jax.jacrev(losses_of)(w), losses_of(w)
        updates, state = optimizer.update(gradients, state, w, losses=losses)
        return (w + updates, state), w

    (end, _), points = jax.lax.scan(step, (START, optimizer.init(START)), length=400)
    return jnp.vstack([points, end])


def main():
    return {name: np.asarray(jax.jit(path, static_argnums=0)(m)) for name, m in METHODS.items()}


def draw(paths, file):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    x, y = np.meshgrid(np.linspace(-1.6, 1.6, 80), np.linspace(-0.4, 1.8, 80))
    for centre, steep, colour in zip(CENTRES, STEEP, ("tab:blue", "tab:red"), strict=True):
        heights = steep[0] * (x - centre[0]) ** 2 + steep[1] * (y - centre[1]) ** 2
        axes.contour(x, y, np.sqrt(heights), 8, colors=colour, alpha=0.3)
    axes.plot(*CENTRES.T, color="grey", linewidth=4, alpha=0.5)
    for name, points in paths.items():
        axes.plot(*points.T, marker=".", markersize=3, linewidth=1, label=name)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    draw(main(), "conflict_paths.png")
