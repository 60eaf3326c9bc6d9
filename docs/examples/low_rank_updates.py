"""Low-rank updates of a layer that stays as it is (LoRA).

The kernel is `frozen`: it has no gradient and no moments, and two thin matrices are learned
beside it. Afterwards `merged` puts them into the kernel, which so costs nothing more to apply.
"""

import jax
import jax.numpy as jnp
import optax

from mtljax import losses, sharing, step, weighting

SIZE, RANK = 16, 2


def outputs(params, x):
    return x @ params["kernel"] + sharing.low_rank(x, params["a"], params["b"])


def half(columns):
    def loss(params, batch):
        return jnp.mean(losses.squared(outputs(params, batch["x"]), batch["y"])[:, columns])

    return loss


def main():
    keys = jax.random.split(jax.random.key(0), 5)
    kernel = jax.random.normal(keys[0], (SIZE, SIZE)) / 4
    change = jax.random.normal(keys[1], (SIZE, RANK)) @ jax.random.normal(keys[2], (RANK, SIZE)) / 4
    x = jax.random.normal(keys[3], (256, SIZE))
    batch = {"x": x, "y": x @ (kernel + change)}
    params = {
        "kernel": kernel,
        "a": jax.random.normal(keys[4], (SIZE, RANK)) / 4,
        "b": jnp.zeros((RANK, SIZE)),  # so that the layer begins as it was
    }
    made = step.train_step(
        {"first": half(slice(8)), "second": half(slice(8, None))},
        weighting.imtl_g(),
        optax.adam(optax.cosine_decay_schedule(0.05, 300)),
        frozen={"kernel": True, "a": False, "b": False},
    )
    state, update = made.init(params), jax.jit(made.update)
    for _ in range(300):
        state, metrics = update(state, batch)
    kernel_after = sharing.merged(state.params["kernel"], state.params["a"], state.params["b"])
    learned = state.params["a"].size + state.params["b"].size
    error = float(jnp.abs(kernel_after - kernel - change).max())
    print(
        f"{learned} of {kernel.size} numbers learned; of the change, at most {error:.0e} is missed"
    )
    return kernel, change, state.params, kernel_after


if __name__ == "__main__":
    main()
