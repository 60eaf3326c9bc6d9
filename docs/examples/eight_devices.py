"""The same step on eight devices, here eight parts of a CPU: rows divided, parameters everywhere.

The state and the batch are placed, the step is jitted as it is: XLA inserts the collectives.
Per-task gradients are summed over the devices before their Gramian is taken, as they must be.
Run alone, it asks for eight devices itself.
"""

import os

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from mtljax import step, weighting


def first(params, batch):
    return jnp.mean((batch["x"] @ params["w"] - batch["first"]) ** 2)


def second(params, batch):
    return jnp.mean((batch["x"] @ params["w"] - batch["second"]) ** 2)


def main():
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    batch = {"x": x, "first": x[:, 0], "second": x[:, 1] - x[:, 0]}
    made = step.train_step({"first": first, "second": second}, weighting.mgda(), optax.sgd(0.1))
    update = jax.jit(made.update)
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    divided = NamedSharding(mesh, PartitionSpec("data"))
    found = []
    for state_at, rows_at in ((everywhere, divided), (jax.devices()[0], jax.devices()[0])):
        state = jax.device_put(made.init({"w": jnp.zeros(4)}), state_at)
        rows = jax.device_put(batch, rows_at)
        for _ in range(20):
            state, metrics = update(state, rows)
        found.append(np.asarray(state.params["w"]))
    print(jax.device_count(), *found, sep="\n")
    return found


if __name__ == "__main__":
    main()
