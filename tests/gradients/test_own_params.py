"""Private parameters of the encoder: their gradients are the task's own, and in no product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients
from mtljax.gradients import Examples, OwnParams
from mtljax.step.objectives import from_encoder

TASKS = ("a", "b", "c")


def encode(shared, private, inputs):
    return jnp.tanh(inputs @ (shared["kernel"] + private["kernel"])) * private["scale"]


def head(params, features, targets):
    return jnp.mean((features @ params - targets) ** 2)


def bent(params, features, targets):
    return jnp.mean(jnp.abs(features @ params["kernel"] - targets)) + params["bias"] ** 2


def problem(unlike):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    shared = {"kernel": normal(3, 4)}
    private = {task: {"kernel": normal(3, 4), "scale": normal(4)} for task in TASKS}
    heads, of_heads = dict.fromkeys(TASKS, head), {task: normal(4) for task in TASKS}
    if unlike:
        heads["b"], of_heads["b"] = bent, {"kernel": normal(4), "bias": normal()}
    batch = {f"of {t}": Examples(normal(5, 3), {t: normal(5)}) for t in reversed(TASKS)}
    return heads, {"shared": shared, "private": private, "heads": of_heads}, batch


def expected(heads, params, batch):
    """By plain differentiation of each task's loss: losses, and gradients of all parameters."""

    def loss(params, task):
        inputs, targets = batch[f"of {task}"]
        features = encode(params["shared"], params["private"][task], inputs)
        return heads[task](params["heads"][task], features, targets[task])

    return [jax.value_and_grad(loss)(params, task) for task in TASKS]


def close(found, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 2e-5, 2e-6), found, wanted)


@pytest.mark.parametrize("unlike", [False, True])
@pytest.mark.parametrize("strategy", ["unrolled", "vmapped", "scanned", "auto"])
def test_gradients_of_every_strategy(strategy, unlike):
    heads, params, batch = problem(unlike)
    pairs = expected(heads, params, batch)
    objectives = from_encoder(encode, heads, private=True)
    found = jax.jit(objectives.task_gradients, static_argnums=3)(params, batch, None, strategy)
    close(found.losses, jnp.stack([loss for loss, _ in pairs]))
    close(found.shared, jax.tree.map(lambda *g: jnp.stack(g), *(g["shared"] for _, g in pairs)))
    for task, (_, gradient) in zip(TASKS, pairs, strict=True):
        close(found.heads[task], OwnParams(gradient["private"][task], gradient["heads"][task]))


@pytest.mark.parametrize("unlike", [False, True])
def test_weighted_sums_and_lagged_directions(unlike):
    heads, params, batch = problem(unlike)
    pairs = expected(heads, params, batch)
    weights = np.array([0.5, -1.0, 2.0], np.float32)
    summed = jax.tree.map(lambda *g: sum(w * x for w, x in zip(weights, g, strict=True)),
                          *(g for _, g in pairs))  # fmt: skip
    objectives = from_encoder(encode, heads, private=True, passes="by_group")
    assert objectives.weighted_gradient is not None
    found = jax.jit(objectives.weighted_gradient)(params, batch, None, weights)
    close(objectives.join(params, found.shared, found.heads), summed)
    plain = jax.grad(lambda p: jnp.dot(weights, objectives.losses(p, batch, None)))(params)
    close(plain, summed)
    lagged = jax.jit(objectives.lagged_gradients, static_argnums=4)
    for size in (None, 8):
        found = lagged(params, batch, None, weights, size)
        close(found.direction, summed["shared"])
        for task, (_, gradient) in zip(TASKS, pairs, strict=True):
            close(found.heads[task].private, gradient["private"][task])
    rows = np.stack([np.ravel(g["shared"]["kernel"]) for _, g in pairs])
    close(lagged(params, batch, None, weights, None).gramian, rows @ rows.T)


def test_what_cannot_have_them_says_so():
    heads, params, batch = problem(False)
    own = {task: OwnParams(params["private"][task], params["heads"][task]) for task in TASKS}
    (inputs, targets), *_ = batch.values()
    several = {"of all": Examples(inputs, dict.fromkeys(TASKS, targets["c"]))}
    with pytest.raises(ValueError, match="'a' has private parameters, and shares the input group"):
        gradients.task_gradients(encode, heads, params["shared"], own, several)
    one = {"c": head}, params["shared"], {"c": own["c"]}, {"of c": batch["of c"]}
    with pytest.raises(ValueError, match="representation gradients: task 'c' has private"):
        gradients.representation_gradients(encode, *one)
    with pytest.raises(ValueError, match="passes 'one': tasks have private parameters"):
        from_encoder(encode, heads, private=True, passes="one")


@pytest.mark.parametrize("unlike", [False, True])
def test_shares_are_of_the_shared_parameters_alone(unlike):
    """What a step with kept weights takes: private parameters take what the heads take."""
    heads, params, batch = problem(unlike)
    (_, one), (_, two), (_, three) = expected(heads, params, batch)
    shares = jnp.array([0.5, 0.0, -2.0])
    objectives = from_encoder(dict.fromkeys(batch, encode), heads, private=True)
    found = jax.jit(jax.grad(lambda p: jnp.sum(objectives.losses(p, batch, None, shares))))(params)
    for part in ("private", "heads"):
        own = [
            gradient[part][task] for task, gradient in zip(TASKS, (one, two, three), strict=True)
        ]
        close(found[part], dict(zip(TASKS, own, strict=True)))
    wanted = 0.5 * one["shared"]["kernel"] - 2 * three["shared"]["kernel"]
    close(found["shared"]["kernel"], wanted)
