"""Linear models of nine tasks, and how the tasks are related, learned together.

Three groups of three: tasks of a group have like weights, and one task of the last group has the
opposite ones. Each has 40 samples of 20 features, too few to be learned alone. The convex form of
Zhang and Yeung (2010) finds weights and correlations at once.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mtljax import linear

GROUPS, SIZE, FEATURES, SAMPLES = 3, 3, 20, 40
TASKS = GROUPS * SIZE


def main():
    random = np.random.default_rng(0)
    centres = random.normal(size=(GROUPS, FEATURES))
    weights = np.repeat(centres, SIZE, axis=0) + 0.2 * random.normal(size=(TASKS, FEATURES))
    weights[-1] *= -1
    task = np.repeat(np.arange(TASKS), SAMPLES)
    features = random.normal(size=(TASKS * SAMPLES, FEATURES)).astype(np.float32)
    noise = 2.0 * random.normal(size=len(task))
    targets = (np.einsum("nd,nd->n", features, weights[task]) + noise > 0).astype(np.int32)

    fit = jax.jit(linear.fit_relation, static_argnames=("num_tasks", "loss"))
    found = fit(features, targets, task, num_tasks=TASKS, ridge=0.1, strength=1.0)
    correlation = linear.correlations(found.covariance)
    print(jnp.round(correlation, 1))
    return np.asarray(correlation)


def draw(correlation, file):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 4))
    image = axes.imshow(correlation, cmap="RdBu", vmin=-1, vmax=1)
    axes.set(xticks=range(TASKS), yticks=range(TASKS), title="learned correlations of nine tasks")
    figure.colorbar(image)
    figure.savefig(file, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    draw(main(), "learned_relation.png")
