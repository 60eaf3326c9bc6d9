"""Gradients of single samples: which ones pull against the rest.

Every sample of a batch is an objective. Its gradient's inner product with those of the others is
below 0 where a step along them makes it worse: most of all for the three clear samples whose labels
were turned.
"""

import jax
import jax.numpy as jnp

from mtljax import gradients, losses


def sample_loss(params, x, label):
    return losses.sigmoid(x @ params["weights"] + params["bias"], label)


def main():
    x = jax.random.normal(jax.random.key(0), (64, 8))
    truth = jax.random.normal(jax.random.key(1), (8,))
    turned = jnp.argsort(-abs(x @ truth))[:3]
    labels = (x @ truth > 0).astype(int)
    labels = labels.at[turned].set(1 - labels[turned])
    params = {"weights": jnp.zeros(8), "bias": jnp.zeros(())}

    @jax.jit
    def products(params):
        each = jax.vmap(jax.grad(sample_loss), (None, 0, 0))(params, x, labels)
        gramian = gradients.gramian(each)  # [64, 64]
        return gramian.sum(1) - jnp.diag(gramian)  # with the sum of all others

    worst = jnp.argsort(products(params))[:3]
    print("turned:", turned, "pull hardest against the rest:", worst)
    return turned, worst


if __name__ == "__main__":
    main()
