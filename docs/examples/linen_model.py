"""A Flax Linen model, and losses that apply it.

The variables that `init` returns are the parameters of the step; a loss applies the model with
them.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from mtljax import losses, step, weighting


class TwoHeads(nn.Module):
    @nn.compact
    def __call__(self, x):
        hidden = nn.tanh(nn.Dense(16)(x))
        return nn.Dense(1)(hidden)[..., 0], nn.Dense(2)(hidden)


def main():
    model = TwoHeads()
    x = jax.random.normal(jax.random.key(0), (256, 4))
    batch = {"x": x, "level": x.mean(1), "sign": (x[:, 0] > x[:, 1]).astype(int)}

    def predict(params, x) -> Any:
        return model.apply(params, x)

    def level(params, batch):
        return jnp.mean(losses.squared(predict(params, batch["x"])[0], batch["level"]))

    def sign(params, batch):
        return jnp.mean(losses.softmax(predict(params, batch["x"])[1], batch["sign"]))

    params = model.init(jax.random.key(1), x)
    made = step.train_step(
        {"level": level, "sign": sign}, weighting.uncertainty(), optax.adam(3e-2)
    )
    state, update = made.init(params), jax.jit(made.update, donate_argnums=0)
    for _ in range(100):
        state, metrics = update(state, batch)
    print(metrics.losses, metrics.weights)
    return metrics.losses


if __name__ == "__main__":
    main()
