from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import aggregation, weighting

LOSSES = np.array([0.5, 2.0, 7.0], np.float32)
LABELS = {
    "tree": {"kernel": "a", "bias": "b"},
    "function": lambda path: "b" if path == "bias" else "a",
}


def inverse_norms():
    """Weights 1/|g_i|, counted by a state."""

    def update(losses, state, *, present, norms):
        del losses
        return jnp.where(present, 1 / jnp.where(present, norms, 1), 0), state + 1

    return weighting.guard(
        lambda n: jnp.zeros((), jnp.int32),
        update,
        fallback=lambda s, c: c.astype(float),
        requires=("losses", "gramian_diagonal"),
    )


@pytest.fixture
def task_grads(rng, tree):
    return tree(rng.normal(size=(3, 10)), jnp.float32)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_each_group_is_weighed_by_itself(labels, task_grads, params):
    method: Any = aggregation.per_group(inverse_norms(), 3, labels)
    state = method.init(params)
    update: Any = jax.jit(method.update)
    direction, new = update(task_grads, state, params, losses=LOSSES)
    alone: Any = aggregation.from_weighting(inverse_norms(), 3)
    for names in (("kernel",), ("bias",)):
        part = {name: task_grads[name] for name in names}
        expected, _ = jax.jit(alone.update)(part, np.int32(0), losses=LOSSES)
        for name in names:
            np.testing.assert_allclose(direction[name], expected[name], rtol=1e-6)
    assert state.keys() == new.keys() == {"a", "b"}
    assert new["a"] == new["b"] == 1


@pytest.mark.parametrize(
    ("labels", "mask"), [("all", None), (lambda path: "all", [True, False, True])]
)
def test_one_group_is_from_weighting(labels, mask, task_grads, params):
    mask = None if mask is None else np.array(mask)
    for method in (inverse_norms(), weighting.uncertainty(), weighting.random()):
        grouped = aggregation.per_group(method, 3, labels)
        plain = aggregation.from_weighting(method, 3)
        a = jax.jit(cast(Any, grouped).update)(
            task_grads, grouped.init(params), losses=LOSSES, mask=mask
        )
        b = jax.jit(plain.update)(task_grads, plain.init(params), losses=LOSSES, mask=mask)
        jax.tree.map(np.testing.assert_array_equal, (a[0], a[1]["all"]), b)


def test_the_table_of_degenerate_cases(task_grads, params):
    labels = LABELS["function"]
    grouped: Any = aggregation.per_group(weighting.imtl_g(), 3, labels)
    update = jax.jit(lambda grads: grouped.update(grads, grouped.init(params), losses=LOSSES)[0])
    found = update(task_grads)
    # All gradients of one group are zero, or one is not finite there: the other group does not see.
    for spoiled in (
        np.zeros((3,) + params["bias"].shape, np.float32),
        np.where(np.arange(3) == 1, np.float32(np.nan), task_grads["bias"]),
    ):
        changed = {**task_grads, "bias": spoiled}
        direction = update(changed)
        np.testing.assert_array_equal(direction["kernel"], found["kernel"])
        # The method's answer without a finite Gramian: the mean of the tasks that are left.
        expected = spoiled[[0, 2]].mean(0)
        np.testing.assert_allclose(direction["bias"], expected, rtol=1e-5, atol=1e-7)
    direction = update(jax.tree.map(np.zeros_like, task_grads))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(direction))


def test_a_prefix_of_a_tree_labels_what_is_below(task_grads, params):
    nested = {"encoder": params, "pooling": params["bias"]}
    method: Any = aggregation.per_group(inverse_norms(), 3, {"encoder": 0, "pooling": 1})
    grads = {"encoder": task_grads, "pooling": task_grads["bias"]}
    direction, _ = jax.jit(method.update)(grads, method.init(nested), losses=LOSSES)
    rows = [leaf.reshape(3, -1) for leaf in jax.tree.leaves(task_grads)]
    weights = 1 / np.linalg.norm(np.concatenate(rows, axis=1), axis=1)
    expected = jax.tree.map(lambda g: np.tensordot(weights, g, 1), task_grads)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), direction["encoder"], expected
    )


def test_given_signals(task_grads, params):
    method: Any = aggregation.per_group(inverse_norms(), 3, LABELS["tree"])
    state = method.init(params)
    signal = {"a": np.ones(3, np.float32), "b": np.full(3, 4, np.float32)}
    update = jax.jit(method.update)
    direction, _ = update(task_grads, state, losses=LOSSES, gramian_diagonal=signal)
    np.testing.assert_allclose(direction["bias"], task_grads["bias"].sum(0) / 2, rtol=1e-5)
    np.testing.assert_allclose(
        direction["kernel"], task_grads["kernel"].sum(0), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ValueError, match="gramian_diagonal"):
        method.update(task_grads, state, losses=LOSSES, gramian_diagonal=np.ones(3))


def test_labels_that_do_not_fit(task_grads, params):
    with pytest.raises(ValueError):
        aggregation.per_group(inverse_norms(), 3, {"kernel": "a"}).init(params)
    method: Any = aggregation.per_group(inverse_norms(), 3, LABELS["tree"])
    with pytest.raises(ValueError, match="labels"):
        method.update(task_grads, {"a": jnp.zeros((), jnp.int32)}, losses=LOSSES)
    with pytest.raises(ValueError, match="losses"):
        method.update(task_grads, method.init(params))
