"""A loss of one's own, with the one reduction: three quantiles of the same numbers, as three tasks.

A loss returns one value an element; `losses.weighted_mean` takes padding and sample weights
alike. The rows with weight 0 have no say, whatever stands in them.
"""

import jax
import jax.numpy as jnp
import optax

from mtljax import losses, step, weighting

QUANTILES = {"low": 0.1, "middle": 0.5, "high": 0.9}


def pinball(predictions, targets, quantile):
    """Koenker and Bassett 1978: its mean is least at that quantile of the targets."""
    difference = targets - predictions
    return jnp.maximum(quantile * difference, (quantile - 1) * difference)


def objective(name, quantile):
    def loss(params, batch):
        return losses.weighted_mean(pinball(params[name], batch["y"], quantile), batch["weights"])

    return loss


def main():
    y = jnp.concatenate([jnp.linspace(0.0, 10.0, 101), jnp.full(20, 1e6)])
    batch = {"y": y, "weights": jnp.where(y < 1e6, 1.0, 0.0)}
    made = step.train_step(
        {name: objective(name, quantile) for name, quantile in QUANTILES.items()},
        weighting.equal(scale="sum"),
        optax.sgd(optax.linear_schedule(2.0, 0.02, 250)),
    )
    state = made.init({name: jnp.array(5.0) for name in QUANTILES})
    update = jax.jit(made.update, donate_argnums=0)
    for _ in range(300):
        state, metrics = update(state, batch)
    print(state.params)  # near 1, 5 and 9
    return state.params


if __name__ == "__main__":
    main()
