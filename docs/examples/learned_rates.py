"""How much of each data set: rates that follow the gradients.

Three groups of data for one model: the target, a related one, and noise. DoGE (Fan et al. 2024)
reads the inner products of a step's gradients, and gives more to what helps the target. The
schedule is two pure functions on the host; the step reads the rates as data.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mtljax import gradients, mixtures

GROUPS = ("target", "related", "noise")


def main():
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (3, 64, 12))
    truth = jax.random.normal(keys[1], (12,))
    y = jnp.einsum("kni,i->kn", x, truth)
    y = y.at[2].set(3 * jax.random.normal(keys[2], (64,)))

    def losses_of(w):
        return jnp.mean((x @ w - y) ** 2, axis=1)

    @jax.jit
    def step(w, rates):
        each = jax.jacrev(losses_of)(w)  # [3, 12]
        return w - 0.02 * rates @ each, gradients.gramian(each)

    schedule = mixtures.doge(target=0, step_size=0.2, floor=0.1)
    state, w, history = schedule.init(3), jnp.zeros(12), []
    rates = np.full(3, 1 / 3)
    for _ in range(60):
        w, gramian = step(w, jnp.asarray(rates, jnp.float32))
        rates, state = schedule.update({"gramian": np.asarray(gramian, float)}, state)
        history.append(rates)
    print({name: round(float(rate), 2) for name, rate in zip(GROUPS, rates, strict=True)})
    return np.array(history)


def draw(history, file):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3))
    for name, rates in zip(GROUPS, history.T, strict=True):
        axes.plot(rates, label=name)
    axes.set(xlabel="step", ylabel="share of the batch", ylim=(0, 1))
    axes.legend(frameon=False)
    figure.savefig(file, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    draw(main(), "learned_rates.png")
