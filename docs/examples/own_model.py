"""A model of plain arrays: two tasks on one hidden layer, balanced by IMTL-G.

`train_step` makes one pure function of losses, a method and an optimizer. Parameters are a tree
of arrays, in whatever form. What both losses use is shared: it moves in a direction that goes
equally far along the gradients of both tasks.
"""

import jax
import jax.numpy as jnp
import optax

from mtljax import losses, step, weighting


def features(params, x):
    return jnp.tanh(x @ params["hidden"])


def level(params, batch):
    return jnp.mean(losses.squared(features(params, batch["x"]) @ params["level"], batch["level"]))


def sign(params, batch):
    return jnp.mean(losses.softmax(features(params, batch["x"]) @ params["sign"], batch["sign"]))


def main():
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], (256, 4))
    batch = {"x": x, "level": x.mean(1), "sign": (x[:, 0] > x[:, 1]).astype(int)}
    params = {
        "hidden": 0.5 * jax.random.normal(keys[1], (4, 16)),
        "level": jnp.zeros(16),
        "sign": jnp.zeros((16, 2)),
    }
    made = step.train_step({"level": level, "sign": sign}, weighting.imtl_g(), optax.adam(3e-2))
    state, update = made.init(params), jax.jit(made.update, donate_argnums=0)
    for number in range(100):
        state, metrics = update(state, batch)
        if number % 33 == 0:
            print(number, metrics.losses, metrics.weights)
    return metrics.losses


if __name__ == "__main__":
    main()
