"""An encoder and heads of Flax Linen, against a plain loss over the same modules."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients
from mtljax.gradients import Examples

TASKS = ("label", "stars", "tags")


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, tokens, *, train):
        vectors = nn.Embed(13, 8, name="words")(tokens)
        vectors = nn.Dropout(0.25, deterministic=not train)(vectors)
        return nn.LayerNorm()(vectors + nn.MultiHeadDotProductAttention(2)(vectors))


class Classifier(nn.Module):
    classes: int
    pooled: bool = True

    @nn.compact
    def __call__(self, features):
        return nn.Dense(self.classes)(features.mean(1) if self.pooled else features)


@pytest.mark.parametrize(
    ("strategy", "train"),
    [("unrolled", False), ("unrolled", True), ("vmapped", True), ("scanned", True)],
)
def test_modules(rng, strategy, train, close):
    encoder = Encoder()
    heads = {"label": Classifier(3), "stars": Classifier(1), "tags": Classifier(5, pooled=False)}
    tokens = {task: jnp.asarray(rng.integers(0, 13, (4, 6))) for task in TASKS}
    targets = {
        "label": jnp.asarray(rng.integers(0, 3, 4)),
        "stars": jnp.asarray(rng.normal(size=4), jnp.float32),
        "tags": jnp.asarray(rng.integers(0, 5, (4, 6))),
    }

    def init(key):
        features = jnp.ones((4, 6, 8))
        shared = encoder.init(key, tokens["label"], train=False)
        return shared, {task: head.init(key, features) for task, head in heads.items()}

    shared, params = jax.tree.map(
        lambda x: rng.normal(0, 0.4, x.shape).astype(x.dtype),
        jax.eval_shape(init, jax.random.key(0)),
    )
    key = jax.random.key(1) if train else None

    def encode(shared, tokens, key=None):
        rngs = {} if key is None else {"dropout": key}
        return encoder.apply(shared, tokens, train=key is not None, rngs=rngs)

    def loss_of(task):
        def head(params, features, targets, key=None):
            del key
            out = heads[task].apply(params, features)
            if task == "stars":
                return jnp.mean((out[:, 0] - targets) ** 2)
            log_p = jax.nn.log_softmax(out)
            return -jnp.mean(jnp.take_along_axis(log_p, targets[..., None], axis=-1))

        return head

    losses = {task: loss_of(task) for task in TASKS}
    batch = {task: Examples(tokens[task], {task: targets[task]}) for task in TASKS}

    @jax.jit
    def run(shared, params):
        return gradients.task_gradients(
            encode, losses, shared, params, batch, key=key, strategy=strategy
        )

    found = run(shared, params)
    for i, task in enumerate(TASKS):

        def plain(shared, head, task=task, i=i):
            first = () if key is None else (jax.random.fold_in(key, i),)
            return losses[task](head, encode(shared, tokens[task], *first), targets[task])

        value_and_grads = jax.jit(jax.value_and_grad(plain, argnums=(0, 1)))
        loss, (gradient, head_grad) = value_and_grads(shared, params[task])
        np.testing.assert_allclose(found.losses[i], loss, rtol=1e-5)
        close(found.heads[task], head_grad)
        # Attention keys' biases have gradients that cancel to zero: an absolute tolerance.
        for a, b in zip(jax.tree.leaves(found.shared), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6)
