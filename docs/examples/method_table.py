"""A sweep over methods, and a table that compares them.

Two regressions and a classification share a layer; one of the regressions is in units a thousand
times as large, and drowns the others where losses are added as they are. The table has the losses
at the end, each over that of a model that always answers with the mean.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from mtljax import losses, step, weighting

METHODS = {"equal": weighting.equal(), "uncertainty": weighting.uncertainty(),
           "upgrad": weighting.upgrad()}  # fmt: skip


def data():
    x = jax.random.normal(jax.random.key(0), (128, 6))
    return {
        "x": x,
        "metres": 1000.0 * x[:, :3].sum(1),
        "metric": x[:, 3:].sum(1),
        "sign": (x[:, 0] > x[:, 5]).astype(int),
    }


def hidden(params, batch):
    return jnp.tanh(batch["x"] @ params["shared"])


def metres(params, batch):
    return jnp.mean(losses.squared(hidden(params, batch) @ params["metres"], batch["metres"]))


def metric(params, batch):
    return jnp.mean(losses.squared(hidden(params, batch) @ params["metric"], batch["metric"]))


def sign(params, batch):
    return jnp.mean(losses.sigmoid(hidden(params, batch) @ params["sign"], batch["sign"]))


def main():
    batch = data()
    shapes = {"shared": (6, 16), "metres": (16,), "metric": (16,), "sign": (16,)}
    keys = jax.random.split(jax.random.key(1), len(shapes))
    drawn = {n: jax.random.normal(k, s) / 4 for k, (n, s) in zip(keys, shapes.items(), strict=True)}
    trivial = np.array([np.var(batch["metres"]), np.var(batch["metric"]), np.log(2)])
    found = {}
    for name, method in METHODS.items():
        objectives = {"metres": metres, "metric": metric, "sign": sign}
        made = step.train_step(objectives, method, optax.adam(0.02))
        state, update = made.init(drawn), jax.jit(made.update)
        for _ in range(200):
            state, metrics = update(state, batch)
        found[name] = np.asarray(metrics.losses) / trivial
    table = Table("method", "metres", "metric", "sign")
    for name, shares in found.items():
        table.add_row(name, *(f"{share:.3f}" for share in shares))
    Console().print(table)
    return found


if __name__ == "__main__":
    main()
