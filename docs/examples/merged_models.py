"""Models merged without training: what each has learned since their common start is added.

Two linear models of 40 columns, of which each task needs 8 of its own; in the others, a model has
learned noise. `ties` drops the smallest changes first. Where noise is as large as what was learned
it chooses wrongly: with 60 samples instead of 200 it is behind the sum for the second task.
"""

import jax.numpy as jnp
import numpy as np

from mtljax import merging

COLUMNS = {"first": slice(0, 8), "second": slice(8, 16)}


def samples(truth, own, count, draw):
    """Columns of the task at full size, the others seldom more than noise."""
    x = draw.normal(size=(count, 40)) * 0.3
    x[:, own] /= 0.3
    return x, x @ truth + draw.normal(size=count)


def solved(x, y):
    return np.linalg.solve(x.T @ x + np.eye(40), x.T @ y)  # ridge regression


def main():
    draw = np.random.default_rng(0)
    base = {"w": jnp.zeros(40)}
    models, tests = {}, {}
    for name, own in COLUMNS.items():
        truth = np.zeros(40)
        truth[own] = draw.choice([-1.0, 1.0], 8)
        models[name] = {"w": jnp.asarray(solved(*samples(truth, own, 200, draw)), jnp.float32)}
        tests[name] = samples(truth, own, 2000, draw)
    learned = list(models.values())
    candidates = {
        "start": base,
        **models,
        "sum": merging.task_arithmetic(base, learned),
        "ties": merging.ties(base, learned, density=0.2),
    }
    table = {
        name: [float(np.mean((x @ model["w"] - y) ** 2)) for x, y in tests.values()]
        for name, model in candidates.items()
    }
    print("squared error of", *(f"{name:>8}" for name in tests))
    for name, errors in table.items():
        print(f"{name:16}", *(f"{error:8.2f}" for error in errors))
    return table


if __name__ == "__main__":
    main()
