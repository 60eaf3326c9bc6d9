"""An Equinox model: its arrays are the parameters of the step.

`eqx.partition` divides the model into arrays and the rest; a loss puts them together again.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from mtljax import losses, step, weighting


class TwoHeads(eqx.Module):
    hidden: eqx.nn.Linear
    level: eqx.nn.Linear
    sign: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.hidden = eqx.nn.Linear(4, 16, key=keys[0])
        self.level = eqx.nn.Linear(16, "scalar", key=keys[1])
        self.sign = eqx.nn.Linear(16, 2, key=keys[2])

    def __call__(self, x):
        hidden = jnp.tanh(self.hidden(x))
        return self.level(hidden), self.sign(hidden)


def main():
    model = TwoHeads(jax.random.key(1))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    x = jax.random.normal(jax.random.key(0), (256, 4))
    batch = {"x": x, "level": x.mean(1), "sign": (x[:, 0] > x[:, 1]).astype(int)}

    def predict(params, x) -> Any:
        return jax.vmap(eqx.combine(params, static))(x)

    def level(params, batch):
        return jnp.mean(losses.squared(predict(params, batch["x"])[0], batch["level"]))

    def sign(params, batch):
        return jnp.mean(losses.softmax(predict(params, batch["x"])[1], batch["sign"]))

    made = step.train_step({"level": level, "sign": sign}, weighting.mgda(), optax.adam(3e-2))
    state, update = made.init(params), jax.jit(made.update, donate_argnums=0)
    for _ in range(100):
        state, metrics = update(state, batch)
    print(metrics.losses, metrics.weights)
    return metrics.losses


if __name__ == "__main__":
    main()
