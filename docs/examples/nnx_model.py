"""A Flax NNX model: split into a graph and its parameters, merged in each loss.

`nnx.split` gives the parameters as a tree, which is all that the step needs; after training,
`nnx.merge` gives the model back.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from mtljax import losses, step, weighting


class TwoHeads(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(4, 16, rngs=rngs)
        self.level = nnx.Linear(16, 1, rngs=rngs)
        self.sign = nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, x):
        hidden = nnx.tanh(self.hidden(x))
        return self.level(hidden)[..., 0], self.sign(hidden)


def main():
    graph, params = nnx.split(TwoHeads(nnx.Rngs(0)), nnx.Param)
    x = jax.random.normal(jax.random.key(0), (256, 4))
    batch = {"x": x, "level": x.mean(1), "sign": (x[:, 0] > x[:, 1]).astype(int)}

    def level(params, batch):
        predicted, _ = nnx.merge(graph, params)(batch["x"])
        return jnp.mean(losses.squared(predicted, batch["level"]))

    def sign(params, batch):
        _, logits = nnx.merge(graph, params)(batch["x"])
        return jnp.mean(losses.softmax(logits, batch["sign"]))

    made = step.train_step({"level": level, "sign": sign}, weighting.mgda(), optax.adam(3e-2))
    state, update = made.init(params), jax.jit(made.update)
    for _ in range(100):
        state, metrics = update(state, batch)
    trained = nnx.merge(graph, state.params)
    accuracy = jnp.mean(trained(x)[1].argmax(-1) == batch["sign"])
    print(metrics.losses, metrics.weights, accuracy)
    return metrics.losses


if __name__ == "__main__":
    main()
