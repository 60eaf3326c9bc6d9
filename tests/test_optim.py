import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtljax import gradients, optim, regularizers, weighting

T = 3
PARAMS = {"kernel": jnp.array([[0.5, -1.0], [2.0, 0.3]]), "bias": jnp.array([0.1, -0.2])}
TARGETS = jnp.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 1.0]])
OPTIONS = {
    "fixed": {"weights": [1.0, 0.2, 4.0]},
    "random": {"seed": 7, "scale": "sum"},
    "stch": {"warmup_steps": 2},
    "uncertainty": {"kind": ["classification", "regression", "regression"], "lr": 0.1},
}
METHODS = {
    name: method
    for name, factory in weighting.METHODS.items()
    if (method := factory(**OPTIONS.get(name, {}))).requires <= {"losses"}
}


def task_losses(params):
    output = jnp.tanh(jnp.ones(2) @ params["kernel"] + params["bias"])
    return jnp.sum((output - TARGETS) ** 2, axis=1)


def by_task_gradients(method, optimizer):
    """A step from the gradients of the tasks."""
    transformation = optim.multi_objective(method, optimizer, T)

    def step(params, state, mask=None):
        losses, task_grads = task_losses(params), jax.jacrev(task_losses)(params)
        updates, state = transformation.update(task_grads, state, params, losses=losses, mask=mask)
        return optax.apply_updates(params, updates), state

    return step


def by_weighted_sum(method, optimizer):
    """A step from the gradient of the weighted sum of the losses."""

    def step(params, state, mask=None):
        def objective(params, state):
            losses = task_losses(params)
            weights, state = optim.weigh(method, losses, state, mask=mask)
            return weights @ losses, state

        direction, state = jax.grad(objective, has_aux=True)(params, state)
        updates, state = optim.apply_direction(optimizer, direction, state, params)
        return optax.apply_updates(params, updates), state

    return step


def after(steps, init, *mask, count=6):
    """Parameters and state after some steps of each kind, compiled together once for all masks."""

    @jax.jit
    def run(carries, *mask):
        return [step(*carry, *mask) for step, carry in zip(steps, carries, strict=True)]

    def of(*mask):
        carries = [(PARAMS, init(PARAMS))] * len(steps)
        for _ in range(count):
            carries = run(carries, *mask)
        return carries

    return [of(one) for one in mask] if mask else of()


@functools.cache
def slopes():
    """The gradients of the tasks at the first parameters."""
    return jax.jit(jax.jacrev(task_losses))(PARAMS)


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def routes(name, *masks):
    method, optimizer = METHODS[name], optax.sgd(1e-2, momentum=0.9)
    init = optim.multi_objective(method, optimizer, T).init
    steps = by_task_gradients(method, optimizer), by_weighted_sum(method, optimizer)
    return after(steps, init, *masks)


@pytest.mark.parametrize("name", METHODS)
def test_both_routes_give_the_same_parameters_and_state(name):
    for one, other in routes(name, jnp.array([True] * T), jnp.array([True, False, True])):
        assert_close(one, other)


@pytest.mark.parametrize("name", ["equal", "uncertainty"])
def test_both_routes_without_a_mask(name):
    assert_close(*routes(name))


def test_equal_weights_are_plain_optimization_of_the_mean():
    adam = optax.adam(1e-2)
    init = optim.multi_objective(METHODS["equal"], adam, T).init
    ((params, state),) = after([by_task_gradients(METHODS["equal"], adam)], init)

    @jax.jit
    def plain(params, adam_state):
        slope = jax.grad(lambda p: task_losses(p).mean())(params)
        updates, adam_state = adam.update(slope, adam_state)
        return optax.apply_updates(params, updates), adam_state

    expected, adam_state = PARAMS, adam.init(PARAMS)
    for _ in range(6):
        expected, adam_state = plain(expected, adam_state)
    assert_close(params, expected)
    assert_close(state.optimizer, adam_state)


def one_update(transformation, params=PARAMS, task_grads=None, state=None, **kwargs):
    task_grads = slopes() if task_grads is None else task_grads
    state = transformation.init(params) if state is None else state
    losses = task_losses(PARAMS)
    return jax.jit(transformation.update)(task_grads, state, params, losses=losses, **kwargs)


def test_chains_before_and_after():
    method = METHODS["fixed"]
    parts = (optax.clip_by_global_norm(0.1), optax.add_decayed_weights(0.1), optax.scale(-1.0))
    outside = optax.chain(optim.multi_objective(method, parts[0], T), *parts[1:])
    inside = optim.multi_objective(method, optax.chain(*parts), T)
    assert_close(one_update(outside)[0], one_update(inside)[0])
    halved = optax.chain(optax.scale(0.5), optim.multi_objective(method, optax.sgd(1.0), T))
    whole = optim.multi_objective(method, optax.sgd(0.5), T)
    assert_close(one_update(halved)[0], one_update(whole)[0])


def test_is_masked_leaf_by_leaf():
    transformation = optax.masked(
        optim.multi_objective(METHODS["uncertainty"], optax.sgd(1.0), T),
        {"kernel": True, "bias": False},
    )
    task_grads = slopes()
    updates, _ = one_update(transformation)
    alone = optim.multi_objective(METHODS["uncertainty"], optax.sgd(1.0), T)
    kernel = {"kernel": PARAMS["kernel"]}
    expected, _ = one_update(alone, kernel, {"kernel": task_grads["kernel"]})
    assert_close(updates["kernel"], expected["kernel"])
    np.testing.assert_array_equal(updates["bias"], task_grads["bias"])


def test_shared_parameters_and_heads_are_partitioned():
    params = {"shared": PARAMS, "heads": jnp.ones(4)}
    transformation = optax.partition(
        {
            "shared": optim.multi_objective(METHODS["equal"], optax.sgd(1.0), T),
            "own": optax.sgd(2.0),
        },
        {"shared": "shared", "heads": "own"},
    )
    task_grads = slopes()
    updates, _ = one_update(
        transformation, params, {"shared": task_grads, "heads": jnp.arange(4.0)}
    )
    mean = jax.tree.map(lambda g: -g.mean(0), task_grads)
    assert_close(updates["shared"], mean)
    np.testing.assert_allclose(updates["heads"], -2 * jnp.arange(4.0))


def test_hyperparameters_are_injected_and_scheduled():
    @optax.inject_hyperparams
    def make(learning_rate, weighting_rate):
        method = weighting.uncertainty(lr=weighting_rate)
        return optim.multi_objective(method, optax.sgd(learning_rate), T)

    transformation = make(learning_rate=optax.linear_schedule(1.0, 0.0, 2), weighting_rate=0.5)
    state = transformation.init(PARAMS)
    sizes = []
    for _ in range(3):
        updates, state = one_update(transformation, state=state)
        sizes.append(float(optax.tree.norm(updates)))
    np.testing.assert_allclose(state.hyperparams["weighting_rate"], 0.5)
    assert sizes[0] > sizes[1] > 0 and sizes[2] == 0
    plain = optim.multi_objective(weighting.uncertainty(lr=0.5), optax.sgd(1.0), T)
    expected = plain.init(PARAMS)
    for _ in range(3):
        _, expected = one_update(plain, state=expected)
    assert_close(cast(Any, state.inner_state).weighting, cast(Any, expected).weighting)

    scheduled = optim.multi_objective(
        METHODS["equal"], optax.sgd(optax.linear_schedule(1.0, 0.0, 2)), T
    )
    first, state = one_update(scheduled)
    second, _ = one_update(scheduled, state=state)
    assert_close(jax.tree.map(lambda u: u / 2, first), second)


def test_gradient_accumulation_goes_inside():
    accumulated = optax.MultiSteps(optax.sgd(1.0), every_k_schedule=2)
    transformation = optim.multi_objective(
        METHODS["equal"], accumulated.gradient_transformation(), T
    )
    first, state = one_update(transformation)
    second, _ = one_update(transformation, state=state)
    assert optax.tree.norm(first) == 0
    expected, _ = one_update(optim.multi_objective(METHODS["equal"], optax.sgd(1.0), T))
    assert_close(second, expected)


def test_extra_arguments_reach_the_optimizer():
    def update(updates, state, params=None, *, factor, **extra_args):
        return jax.tree.map(lambda u: u * factor, updates), state

    scaled = optax.GradientTransformationExtraArgs(lambda p: optax.EmptyState(), update)
    result, _ = one_update(optim.multi_objective(METHODS["equal"], scaled, T), factor=5.0)
    expected = gradients.combine(jnp.full(T, 5 / T), slopes())
    assert_close(result, expected)


def with_losses(seen):
    """A part of an optimizer that reads the losses, and leaves the updates as they are."""

    def update(updates, state, params=None, *, losses, **extra_args):
        seen.append(losses)
        return updates, state

    return optax.GradientTransformationExtraArgs(lambda p: optax.EmptyState(), update)


SHARES = jnp.array([0.5, 0.2, 1.5])
VALUE_FNS = {
    "plain": lambda params: SHARES @ task_losses(params),
    "with data": lambda params, offset: SHARES @ task_losses(params) + offset,
    "open": lambda params, offset=0.0, **rest: SHARES @ task_losses(params) + 0 * len(rest),
}


@pytest.mark.parametrize(
    ("inner", "value_fn"),
    [("lbfgs", "plain"), ("backtracking", "plain"), ("lbfgs", "with data"), ("lbfgs", "open")],
)
def test_a_line_search_is_that_of_plain_optax_on_the_weighted_sum(inner, value_fn):
    searches = {
        "lbfgs": optax.lbfgs(),
        "backtracking": optax.chain(
            optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=8)
        ),
    }
    plain, seen = searches[inner], []
    # A part that reads the losses may stand in the same chain.
    chained = optax.chain(with_losses(seen), plain)
    ours = optim.multi_objective(weighting.fixed(SHARES), chained, T)
    data = {"offset": 2.0} if value_fn == "with data" else {}
    keywords = dict(value_fn=VALUE_FNS[value_fn], **data)

    @jax.jit
    def steps(ours_params, ours_state, params, state):
        weighted = VALUE_FNS["with data" if data else "plain"]
        of_weighted = jax.value_and_grad(lambda p: weighted(p, **data))
        losses, task_grads = task_losses(ours_params), jax.jacrev(task_losses)(ours_params)
        value, grad = of_weighted(ours_params)
        updates, ours_state = ours.update(
            task_grads,
            ours_state,
            ours_params,
            losses=losses,
            mask=jnp.ones(T, bool),
            value=value,
            grad=grad,
            **keywords,
        )
        ours_params = optax.apply_updates(ours_params, updates)
        value, grad = of_weighted(params)
        updates, state = plain.update(
            grad, state, params, value=value, grad=grad, value_fn=weighted, **data
        )
        return ours_params, ours_state, optax.apply_updates(params, updates), state

    carry = PARAMS, ours.init(PARAMS), PARAMS, plain.init(PARAMS)
    for _ in range(4):
        carry = steps(*carry)
        assert_close(carry[0], carry[2], rtol=2e-4, atol=2e-4)
    assert seen
    if inner == "lbfgs" and value_fn == "plain":
        assert SHARES @ task_losses(carry[0]) < 0.7 * SHARES @ task_losses(PARAMS)


def test_a_value_fn_that_names_the_losses_gets_them():
    seen = []

    def value_fn(params, losses=None):
        seen.append(losses)
        return task_losses(params).mean()

    search = optax.chain(optax.sgd(0.1), optax.scale_by_backtracking_linesearch(3))
    grad = jax.tree.map(lambda g: g.mean(0), slopes())
    value = task_losses(PARAMS).mean()
    transformation = optim.multi_objective(METHODS["equal"], search, T)
    losses = task_losses(PARAMS)
    transformation.update(
        slopes(),
        transformation.init(PARAMS),
        PARAMS,
        losses=losses,
        value=value,
        grad=grad,
        value_fn=value_fn,
    )
    assert seen and all(one is not None for one in seen)


def test_an_optimizer_that_takes_no_other_arguments_gets_none():
    def update(updates, state, params=None, *, factor):
        return jax.tree.map(lambda u: u * factor, updates), state

    strict = optax.GradientTransformationExtraArgs(lambda p: optax.EmptyState(), update)
    result, _ = one_update(optim.multi_objective(METHODS["equal"], strict, T), factor=5.0)
    assert_close(result, gradients.combine(jnp.full(T, 5 / T), slopes()))


@pytest.mark.parametrize("size", [T, 5])
def test_gradients_without_a_task_axis_are_told_by_the_parameters(size):
    params = {"kernel": jnp.ones((size, 2)), "bias": jnp.ones(2)}
    task_grads = {"kernel": jnp.ones((size, 2)), "bias": jnp.ones((T, 2))}
    transformation = optim.multi_objective(METHODS["equal"], optax.sgd(1.0), T)
    with pytest.raises(
        ValueError, match=rf"'kernel' of shape \({size}, 2\).*no task axis.*MultiSte"
    ):
        one_update(transformation, params, task_grads)
    around = optax.MultiSteps(transformation, 2).gradient_transformation()
    with pytest.raises(ValueError, match="no task axis.*go inside"):
        one_update(around, params, jax.tree.map(lambda p: jnp.ones((T, *p.shape)), params))
    with pytest.raises(ValueError, match=r"\[T, \*param\] of a parameter of shape \(2,\)"):
        one_update(transformation, params, jax.tree.map(lambda p: jnp.ones((T, 1)), params))


@pytest.mark.parametrize("name", METHODS)
def test_state_is_a_tree_of_arrays_and_resumes_exactly(name):
    transformation = optim.multi_objective(METHODS[name], optax.adam(1e-2), T)
    _, state = one_update(transformation)
    assert isinstance(state, optim.MultiObjectiveState)
    leaves, structure = jax.tree.flatten(state)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    saved = jax.tree.unflatten(structure, [jnp.asarray(np.asarray(leaf)) for leaf in leaves])
    straight, resumed = (one_update(transformation, state=s) for s in (state, saved))
    jax.tree.map(np.testing.assert_array_equal, straight, resumed)
    abstract = jax.eval_shape(transformation.init, PARAMS)
    assert jax.tree.structure(abstract) == structure
    assert [leaf.shape for leaf in jax.tree.leaves(abstract)] == [leaf.shape for leaf in leaves]


def test_state_is_donated_and_sits_in_a_scan():
    transformation = optim.multi_objective(METHODS["random"], optax.adam(1e-2), T)

    def body(carry, _):
        params, state = carry
        losses, task_grads = task_losses(params), jax.jacrev(task_losses)(params)
        updates, state = transformation.update(task_grads, state, params, losses=losses)
        return (optax.apply_updates(params, updates), state), losses

    run = jax.jit(lambda carry: jax.lax.scan(body, carry, length=6), donate_argnums=0)
    start = jax.tree.map(jnp.array, (PARAMS, transformation.init(PARAMS)))
    (params, state), _ = run(start)
    step = by_task_gradients(METHODS["random"], optax.adam(1e-2))
    assert_close([(params, state)], after([step], transformation.init))


def test_a_loss_that_is_not_finite_leaves_the_weighting_alone():
    transformation = optim.multi_objective(METHODS["uncertainty"], optax.sgd(1.0), T)
    task_grads = jax.tree.map(lambda g: g.at[1].set(jnp.nan), slopes())
    state = transformation.init(PARAMS)
    losses = task_losses(PARAMS).at[1].set(jnp.nan)
    updates, new = transformation.update(task_grads, state, PARAMS, losses=losses)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updates))
    jax.tree.map(np.testing.assert_array_equal, new.weighting, state.weighting)


def test_wrong_arguments_are_named():
    transformation = optim.multi_objective(METHODS["equal"], optax.sgd(1.0), T)
    task_grads = slopes()
    with pytest.raises(ValueError, match="losses"):
        transformation.update(task_grads, transformation.init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match="num_tasks"):
        optim.multi_objective(METHODS["equal"], optax.sgd(1.0), 0)


def test_proximal_steps_reach_the_optimum_of_scikit_learn():
    from sklearn.linear_model import Lasso

    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 8)).astype(np.float32)
    targets = features @ np.where(np.arange(8) < 3, 1.0, 0.0).astype(np.float32)
    lasso = Lasso(alpha=0.1, fit_intercept=False, tol=1e-10).fit(
        features.astype(float), targets.astype(float)
    )
    rate = optax.cosine_decay_schedule(0.3, 300, 0.1)
    optimizer = optim.proximal(
        optax.sgd(rate), lambda w, size: regularizers.soft_threshold(w, 0.1 * size), rate
    )

    def loss(w):
        return jnp.mean((features @ w - targets) ** 2) / 2

    def step(_, carry):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    params = jnp.ones(8)
    params, state = jax.lax.fori_loop(0, 300, step, (params, optimizer.init(params)))
    assert int(state.count) == 300
    np.testing.assert_allclose(params, lasso.coef_, atol=1e-5)
    np.testing.assert_array_equal(params == 0, lasso.coef_ == 0)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimizer.update(params, state)
