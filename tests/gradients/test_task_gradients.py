"""All strategies against `jax.grad` of each plain loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients

# What "auto" takes for groups of equal shapes is one of the others.
PAIRS = (
    [
        (name, strategy)
        for name in ("equal_shapes", "unequal_heads", "packed", "tied", "dropout", "one")
        for strategy in ("unrolled", "vmapped", "scanned")
    ]
    + [
        (name, strategy)
        for name in ("unequal_shapes", "groups", "tied_group", "dropout_group")
        for strategy in ("auto", "unrolled")
    ]
    + [(name, "auto") for name in ("unequal_heads", "dropout", "dropout_groups", "mixed_sets")]
)

# Each strategy once, and each kind of problem.
FEW = [
    ("unequal_heads", "unrolled"),
    ("unequal_heads", "scanned"),
    ("tied", "vmapped"),
    ("groups", "auto"),
]


def call(case, strategy, **changes):
    """`task_gradients` with all arrays as arguments of the compiled function."""
    case = case._replace(**changes)

    def run(shared, head_params, batch, key):
        return gradients.task_gradients(
            case.encode, case.heads, shared, head_params, batch, key=key, strategy=strategy
        )

    return jax.jit(run), (case.shared, case.head_params, case.batch, case.key)


@pytest.mark.parametrize(("name", "strategy"), PAIRS)
def test_equal_to_the_gradient_of_each_loss(name, strategy, cases, expected, close):
    case = cases[name]()
    run, arguments = call(case, strategy)
    found = run(*arguments)
    losses, shared, head_grads = expected(case)
    assert found.losses.dtype == jnp.float32
    close(found.losses, losses)
    close(found.shared, shared)
    close(found.heads, head_grads)
    assert list(found.heads) == sorted(case.heads)  # jit sorts the keys of a dictionary


@pytest.mark.parametrize(
    ("name", "strategy"),
    [("unequal_heads", "unrolled"), ("unequal_heads", "vmapped"), ("groups", "auto")],
)
def test_without_jit(name, strategy, cases, expected, close):
    case = cases[name]()
    found = gradients.task_gradients(*case[:5], key=case.key, strategy=strategy)
    losses, shared, head_grads = expected(case)
    close(found, gradients.TaskGradients(np.float64(losses), shared, head_grads))
    assert list(found.heads) == list(case.heads)


@pytest.mark.parametrize(("name", "strategy"), FEW)
def test_float64(name, strategy, cases, expected, close):
    with jax.enable_x64(True):
        case = cases[name]()
        run, arguments = call(case, strategy)
        found = run(*arguments)
        losses, shared, head_grads = expected(case)
        assert found.losses.dtype == jnp.float64
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float64)}
        close(found[:3], (losses, shared, head_grads), 1e-12)


@pytest.mark.parametrize(("name", "strategy"), FEW[:-1])
def test_bfloat16(name, strategy, cases, expected, close):
    """Parameters and features of 8 bits: jax.grad rounds as often, in its own order."""

    def narrow(tree):
        return jax.tree.map(
            lambda x: x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
        )

    case = cases[name]()
    parts = dict(
        shared=narrow(case.shared), head_params=narrow(case.head_params), batch=narrow(case.batch)
    )
    run, arguments = call(case, strategy, **parts)
    found = run(*arguments)
    assert found.losses.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(found[1:])} == {jnp.dtype(jnp.bfloat16)}
    losses, shared, head_grads = expected(case._replace(**parts))
    close(found.losses, losses, 0.02)
    for i, task in enumerate(case.heads):
        one, other = (
            [np.asarray(x)[i] for x in jax.tree.leaves(tree)] for tree in (found.shared, shared)
        )
        for a, b in ((one, other), (found.heads[task], head_grads[task])):
            a, b = (
                np.concatenate([np.float32(np.ravel(leaf)) for leaf in jax.tree.leaves(tree)])
                for tree in (a, b)
            )
            # Units of 2^-8, of a few sums over examples.
            assert np.linalg.norm(a - b) < 0.02 * np.linalg.norm(b)


def test_parameters_of_several_dtypes(cases, expected, close):
    case = cases["equal_shapes"]()
    shared = {**case.shared, "bias": case.shared["bias"].astype(jnp.bfloat16)}
    for strategy in case.strategies:
        run, arguments = call(case, strategy, shared=shared)
        found = run(*arguments).shared
        assert found["bias"].dtype == jnp.bfloat16 and found["kernel"].dtype == jnp.float32
        _, wanted, _ = expected(case._replace(shared=shared))
        close(found["kernel"], wanted["kernel"])


@pytest.mark.parametrize(
    "name", ["equal_shapes", "groups", "tied", "dropout_group", "dropout_groups", "mixed_sets"]
)
def test_task_losses(name, cases, expected, close):
    """Losses, and the gradient of their weighted sum."""
    case = cases[name]()
    weights = jnp.linspace(0.5, 2, len(case.heads))

    def total(shared):
        losses = gradients.task_losses(case.encode, case.heads, shared, *case[3:5], key=case.key)
        return weights @ losses, losses

    (_, losses), slope = jax.jit(jax.value_and_grad(total, has_aux=True))(case.shared)
    wanted, rows, _ = expected(case)
    close(losses, wanted)
    close(slope, jax.tree.map(lambda leaf: np.tensordot(weights, leaf, 1), rows))


@pytest.mark.parametrize(
    ("name", "strategy"),
    [*FEW, ("equal_shapes", "vmapped"), ("tied_group", "unrolled")],
)
def test_a_nan_stays_with_its_task(name, strategy, cases, expected, close):
    case = cases[name]()
    order = list(case.heads)
    bad = order[1]
    params = {**case.head_params, bad: jax.tree.map(lambda x: x * np.nan, case.head_params[bad])}
    run, arguments = call(case, strategy, head_params=params)
    found = run(*arguments)
    losses, shared, head_grads = expected(case)
    rest = np.array([i for i, task in enumerate(order) if task != bad])
    assert np.isnan(found.losses[1])
    assert all(np.isnan(leaf[1]).any() for leaf in jax.tree.leaves(found.shared))
    close(found.losses[rest], losses[rest])
    close(*(jax.tree.map(lambda leaf: leaf[rest], tree) for tree in (found.shared, shared)))
    close(
        {t: found.heads[t] for t in order if t != bad},
        {t: head_grads[t] for t in order if t != bad},
    )


def test_a_batch_may_be_plain_pairs(cases, expected, close):
    case = cases["groups"]()
    found = gradients.task_gradients(*case[:4], {n: tuple(rows) for n, rows in case.batch.items()})
    close(found.shared, expected(case)[1])


@pytest.mark.parametrize("strategy", ["unrolled", "vmapped", "scanned"])
def test_features_that_do_not_depend_on_the_inputs(strategy, cases, expected, close):
    case = cases["unequal_heads"]()
    case = case._replace(encode=lambda shared, inputs: jnp.tile(jnp.tanh(shared["bias"]), (6, 1)))
    run, arguments = call(case, strategy)
    losses, shared, head_grads = expected(case)
    close(run(*arguments)[:3], (losses, shared, head_grads))


@pytest.mark.parametrize("strategy", ["unrolled", "vmapped", "scanned"])
def test_inside_other_transformations(strategy, cases, close):
    """A map over parameters, as over seeds, and a derivative of the gradients."""
    case = cases["unequal_heads"]()

    def norm(bias):
        shared = {**case.shared, "bias": bias}
        rows = gradients.task_gradients(
            case.encode, case.heads, shared, *case[3:5], strategy=strategy
        ).shared
        return jnp.sum(gradients.gramian(rows))

    biases = jnp.stack([case.shared["bias"], 2 * case.shared["bias"]])
    found = jax.jit(jax.vmap(jax.value_and_grad(norm)))(biases)
    one = jax.jit(norm)
    for i, bias in enumerate(np.asarray(biases)):
        step = np.array([0, 1e-2, 0, 0], np.float32)
        slope = (one(bias + step) - one(bias - step)) / 2e-2
        close(found[0][i], one(bias))
        # A central difference in float32.
        np.testing.assert_allclose(found[1][i, 1], slope, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("strategy", ["unrolled", "scanned"])
def test_parameters_that_are_python_numbers(strategy, cases):
    case = cases["equal_shapes"]()
    shared = {**case.shared, "scale": 2.0}
    arrays = {**case.shared, "scale": jnp.array(2.0)}
    for options in ({}, {"sketch": 31}):
        found, wanted = (
            gradients.lagged_gradients(
                case.encode, case.heads, s, *case[3:5], jnp.ones(3), strategy=strategy, **options
            ).direction
            for s in (shared, arrays)
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, wanted)
