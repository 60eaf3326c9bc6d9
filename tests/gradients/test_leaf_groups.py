"""Parts of the parameters, by masks and by labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients
from mtljax.gradients import RowGradients


@pytest.fixture
def task_grads(rng):
    def leaf(*shape):
        return jnp.asarray(rng.normal(size=(3, *shape)), jnp.float32)

    rows = RowGradients(jnp.array([[0, 2], [1, 2], [2, 9]]), leaf(2, 4).at[2, 1].set(0), 9)
    layers = [{"kernel": leaf(4, 4), "bias": leaf(4)} for _ in range(2)]
    return {"embedding": rows, "layers": layers, "scale": leaf()}


def flat(leaves):
    return np.concatenate([np.reshape(leaf, (3, -1)) for leaf in leaves], axis=1, dtype=np.float64)


MASKS = {
    "prefix": {"embedding": False, "layers": [False, True], "scale": False},
    "tree": {
        "embedding": False,
        "layers": [{"kernel": False, "bias": False}, {"kernel": True, "bias": np.True_}],
        "scale": False,
    },
    "function": lambda path: path.startswith("layers/1/"),
}


@pytest.mark.parametrize("where", MASKS.values(), ids=MASKS.keys())
def test_leaves_that_count(task_grads, where):
    wide = flat(task_grads["layers"][1].values())
    for f in (gradients.gramian, jax.jit(lambda g: gradients.gramian(g, where=where))):
        found = f(task_grads, where=where) if f is gradients.gramian else f(task_grads)
        np.testing.assert_allclose(found, wide @ wide.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        gradients.gramian_diagonal(task_grads, where=where), (wide**2).sum(1), rtol=1e-5
    )


def test_all_and_rows(task_grads):
    everything = gradients.gramian(task_grads)
    np.testing.assert_array_equal(gradients.gramian(task_grads, where=True), everything)
    only = gradients.gramian(task_grads, where=lambda path: path == "embedding")
    np.testing.assert_array_equal(only, gradients.gramian(task_grads["embedding"]))


@pytest.mark.parametrize(
    ("where", "error"),
    [
        (lambda path: False, ValueError),
        ({"embedding": True}, ValueError),
        (lambda path: path, TypeError),
        (1, TypeError),
        ({"embedding": True, "layers": jnp.ones(2, bool), "scale": True}, TypeError),
    ],
)
def test_wrong_masks(task_grads, where, error):
    for f in (gradients.gramian, gradients.gramian_diagonal):
        with pytest.raises(error):
            f(task_grads, where=where)


LABELS = {
    "prefix": {"embedding": "low", "layers": ["low", "high"], "scale": "high"},
    "function": lambda path: "low" if path[:8] in ("embeddin", "layers/0") else "high",
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("jit", [False, True])
def test_groups(task_grads, labels, jit):
    def run(task_grads, weights):
        grams = gradients.group_gramians(task_grads, labels)
        return grams, gradients.combine(weights, task_grads, labels=labels)

    weights = {"high": jnp.array([1.0, 2.0, 3.0]), "low": jnp.array([0.5, 0.0, -1.0])}
    grams, direction = (jax.jit(run) if jit else run)(task_grads, weights)
    assert grams.keys() == {"low", "high"}
    high = flat([*task_grads["layers"][1].values(), task_grads["scale"]])
    np.testing.assert_allclose(grams["high"], high @ high.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        grams["high"] + grams["low"], gradients.gramian(task_grads), rtol=1e-5, atol=1e-5
    )
    for label, part in (("low", "embedding"), ("high", "scale")):
        wanted = gradients.combine(weights[label], task_grads[part])
        np.testing.assert_allclose(direction[part], wanted, rtol=1e-6)
    for i, label in enumerate(("low", "high")):
        for name, leaf in task_grads["layers"][i].items():
            np.testing.assert_allclose(
                direction["layers"][i][name],
                np.tensordot(weights[label], leaf, 1),
                rtol=1e-5,
                atol=1e-6,
            )


def test_integers_are_labels(task_grads):
    grams = gradients.group_gramians(task_grads, lambda path: path.count("/"))
    assert grams.keys() == {0, 2}


def test_labels_that_do_not_fit(task_grads):
    weights = {"low": jnp.ones(3), "high": jnp.ones(3)}
    labels = LABELS["function"]
    with pytest.raises(ValueError):
        gradients.group_gramians(task_grads, {"embedding": "a"})
    with pytest.raises(ValueError, match=r"\['high', 'low'\].*\['low'\]"):
        gradients.combine({"low": jnp.ones(3)}, task_grads, labels=labels)
    with pytest.raises(ValueError, match="labels"):
        gradients.combine(weights, task_grads)
    with pytest.raises(ValueError, match="labels"):
        gradients.combine(jnp.ones(3), task_grads, labels=labels)
    with pytest.raises(ValueError, match=r"'low' must have shape \(3,\), got \(2,\)"):
        gradients.combine({**weights, "low": jnp.ones(2)}, task_grads, labels=labels)
