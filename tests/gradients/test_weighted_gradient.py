"""The gradient of a weighted sum, against sums of `jax.grad` of each plain loss."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients

CASES = ("equal_shapes", "unequal_heads", "groups", "tied", "tied_group", "mixed_sets", "one")


def call(case, weights, **keywords):
    """With all arrays as arguments of the compiled function."""

    def run(shared, head_params, batch, weights, key):
        return gradients.weighted_gradient(
            case.encode, case.heads, shared, head_params, batch, weights, key=key, **keywords
        )

    return jax.jit(run)(case.shared, case.head_params, case.batch, weights, case.key)


def wanted(case, weights, expected):
    losses, shared, heads = expected(case)
    of_task = dict(zip(case.heads, weights, strict=True))
    return (
        losses,
        jax.tree.map(lambda leaf: np.tensordot(weights, leaf, 1), shared),
        {t: jax.tree.map(lambda leaf, t=t: of_task[t] * leaf, heads[t]) for t in case.heads},
    )


@pytest.mark.parametrize("name", CASES)
def test_equal_to_the_sum_of_the_gradients(name, cases, expected, close):
    case = cases[name]()
    weights = np.linspace(0.5, -2, len(case.heads))
    found = call(case, jnp.asarray(weights))
    assert found.aux is None and found.losses.dtype == jnp.float32
    close(found[:3], wanted(case, weights, expected))


@pytest.mark.parametrize("name", ["equal_shapes", "groups"])
def test_float64(name, cases, expected, close):
    with jax.enable_x64(True):
        case = cases[name]()
        weights = np.linspace(0.5, -2, len(case.heads))
        found = call(case, jnp.asarray(weights))
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float64)}
        close(found[:3], wanted(case, weights, expected), 1e-12)


@pytest.mark.parametrize("name", ["equal_shapes", "unequal_heads"])
def test_bfloat16_is_summed_in_float32(name, cases):
    case = cases[name]()
    narrow = case._replace(shared=jax.tree.map(lambda x: x.astype(jnp.bfloat16), case.shared))
    weights = jnp.array([1.0, 1 / 256, 1 / 256])
    found = call(narrow, weights).shared
    parts = [call(narrow, weights * (jnp.arange(3) == i)).shared for i in range(3)]
    exact = jax.tree.map(lambda *leaves: sum(np.float32(leaf) for leaf in leaves), *parts)
    for leaf, sum_ in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        assert leaf.dtype == jnp.bfloat16
        # One rounding of the sum, and one of each of its small parts.
        np.testing.assert_allclose(np.float32(leaf), sum_, rtol=2**-8, atol=1e-30)


@pytest.mark.parametrize("name", ["equal_shapes", "groups"])
def test_aux_of_every_group_and_task(name, cases):
    case = cases[name]()
    encoders: dict[str, Any] = (
        case.encode if isinstance(case.encode, dict) else dict.fromkeys(case.batch, case.encode)
    )
    with_aux = {f: lambda s, x, f=f: (f(s, x), jnp.sum(x)) for f in set(encoders.values())}
    heads = {f: lambda p, h, y, f=f: (f(p, h, y), jnp.max(h)) for f in set(case.heads.values())}
    changed = case._replace(
        encode={name: with_aux[f] for name, f in encoders.items()},
        heads={task: heads[f] for task, f in case.heads.items()},
    )
    weights = jnp.ones(len(case.heads))
    found = call(changed, weights, has_aux=True)
    losses, aux = gradients.task_losses(*changed[:5], has_aux=True)
    assert found.aux is not None
    np.testing.assert_allclose(found.losses, losses, rtol=1e-6)
    for group, examples in case.batch.items():
        np.testing.assert_allclose(found.aux.groups[group], examples.inputs.sum(), rtol=1e-5)
    for task, value in aux.tasks.items():
        np.testing.assert_allclose(found.aux.tasks[task], value, rtol=1e-6)


def test_one_weight_a_task(cases):
    with pytest.raises(ValueError, match=r"weights must have shape \(3,\), got \(2,\)"):
        call(cases["equal_shapes"](), jnp.ones(2))


@pytest.mark.parametrize("rows", [(3, 3), (3, 4)])
def test_rows_of_a_table_are_added_to_the_sum(rows, close):
    """Those that two groups read, some of them twice, in a loop and one after the other."""
    rng = np.random.default_rng(0)
    shared = {"words": jnp.asarray(rng.normal(size=(6000, 3)), jnp.float32)}
    params = {n: jnp.asarray(rng.normal(size=3), jnp.float32) for n in "ab"}
    batch = {
        n: gradients.Examples(jnp.asarray(rng.integers(0, 9, (count, 4))), {n: jnp.ones(count)})
        for n, count in zip("ab", rows, strict=True)
    }

    def encode(shared, ids):
        return jnp.tanh(gradients.look_up(shared["words"], ids)).sum(1)

    heads = dict.fromkeys("ab", lambda params, x, y: jnp.mean((x @ params - y) ** 2))
    weights = jnp.array([0.5, -2.0])

    def weighted(shared, params):
        return gradients.task_losses(encode, heads, shared, params, batch) @ weights

    found = jax.jit(
        lambda *parts: gradients.weighted_gradient(encode, heads, *parts, batch, weights)
    )
    wanted = jax.jit(jax.grad(weighted, argnums=(0, 1)))(shared, params)
    close(found(shared, params)[1:3], wanted)


def test_losses_are_in_the_order_of_the_heads():
    """Whatever the alphabet says of the tasks of a group."""
    x = jnp.array([[1.0, 2.0]])
    batch = {"group": gradients.Examples(x, {"z": 1.0, "a": 5.0, "m": 2.0})}
    heads = dict.fromkeys(
        "zam", lambda params, features, target: params * jnp.sum(features) * target
    )
    found = gradients.weighted_gradient(
        lambda shared, inputs: inputs * shared, heads, jnp.array(2.0),
        {"z": jnp.array(1.0), "a": jnp.array(1.0), "m": jnp.array(10.0)}, batch, [1.0, 0.1, 0.0],
    )  # fmt: skip
    np.testing.assert_allclose(found.losses, [6, 30, 120])
    assert list(found.heads) == ["z", "a", "m"]
    np.testing.assert_allclose([found.heads[t] for t in "zam"], [6, 3, 0])
    np.testing.assert_allclose(found.shared, 3 * 1.0 + 15 * 0.1)
