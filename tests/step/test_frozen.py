"""Steps with frozen parameters: equal to those of objectives that close over them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtljax import aggregation, weighting
from mtljax.gradients import Examples
from mtljax.regularizers import l2
from mtljax.step import Method, from_encoder, merge, partition, train_step

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape).astype(np.float32))


PARAMS = {
    "shared": {"first": normal(3, 4), "second": jnp.asarray(np.eye(4, 5, dtype=np.float32))},
    "heads": {"a": normal(5), "b": normal(5)},
}
MASK = {"shared": {"first": True, "second": False}, "heads": {"a": False, "b": True}}
BATCH = {
    "x": Examples(normal(7, 3), {"a": np.ones(7, np.float32)}),
    "y": Examples(normal(7, 3), {"b": -np.ones(7, np.float32)}),
}


def encode(shared, inputs):
    return jnp.tanh(inputs @ shared["first"]) @ shared["second"]


def head(params, features, targets):
    return jnp.mean((features @ params - targets) ** 2)


OBJECTIVES = from_encoder({"x": encode, "y": encode}, {"a": head, "b": head})


def closed_over():
    """The same losses as functions of the trained parameters alone, written by hand."""
    first, last = PARAMS["shared"]["first"], PARAMS["heads"]["b"]

    def encode_trained(shared, inputs):
        return encode({"first": first, "second": shared}, inputs)

    def fixed_head(params, features, targets):
        del params
        return head(last, features, targets)

    return from_encoder(encode_trained, {"a": head, "b": fixed_head})


TRAINED = {"shared": PARAMS["shared"]["second"], "heads": {"a": PARAMS["heads"]["a"], "b": {}}}


def test_partition_and_merge():
    for mask in (MASK, lambda params: MASK):
        trained, frozen = partition(PARAMS, mask)
        assert trained["shared"]["first"] is None and frozen["heads"]["a"] is None
        assert jax.tree.structure(merge(trained, frozen)) == jax.tree.structure(PARAMS)
        jax.tree.map(np.testing.assert_array_equal, merge(trained, frozen), PARAMS)
    trained, _ = partition(PARAMS, {"shared": True, "heads": False})
    assert jax.tree.leaves(trained["shared"]) == [] and len(jax.tree.leaves(trained)) == 2
    with pytest.raises(ValueError):
        partition(PARAMS, {"shared": True})
    with pytest.raises(TypeError, match="must be bool, got str"):
        partition(PARAMS, {"shared": "yes", "heads": False})


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (weighting.equal(), {}),
        (weighting.upgrad(), {"strategy": "scanned", "average": 0.9}),
        (weighting.upgrad(), {"strategy": "lagged"}),
        (Method(aggregation.excess_mtl(2)), {"accumulate": 2}),
    ],
)
def test_steps_are_those_of_the_trained_parameters_alone(method, settings):
    """With a penalty on all parameters, whose gradient the frozen ones do not take."""
    frozen = jax.tree.leaves(partition(PARAMS, MASK)[1])

    def after_steps(objectives, params, penalty, **more):
        more |= {**settings, "penalty": penalty}
        step = train_step(objectives, method, optax.adamw(0.1), **more)
        state = jax.jit(step.init)(params, BATCH)
        update = jax.jit(step.update)
        for _ in range(3):
            state, metrics = update(state, BATCH)
        return state, metrics

    state, metrics = after_steps(OBJECTIVES, PARAMS, l2, frozen=MASK)
    expected, wanted = after_steps(closed_over(), TRAINED, lambda params: l2((params, frozen)))
    np.testing.assert_allclose(metrics.losses, wanted.losses, rtol=1e-5)
    np.testing.assert_allclose(metrics.penalty, wanted.penalty, rtol=1e-5)
    for mine, other in ((state.params, expected.params), (state.average, expected.average)):
        if mine is not None:
            np.testing.assert_allclose(mine["shared"]["second"], other["shared"], rtol=1e-5)
            np.testing.assert_allclose(mine["heads"]["a"], other["heads"]["a"], rtol=1e-5)
            np.testing.assert_array_equal(mine["shared"]["first"], PARAMS["shared"]["first"])
            np.testing.assert_array_equal(mine["heads"]["b"], PARAMS["heads"]["b"])
    sizes = [leaf.size for leaf in jax.tree.leaves(state.optimizer.optimizer)]
    assert sorted(sizes) == sorted(x.size for x in jax.tree.leaves(expected.optimizer.optimizer))


def test_nothing_is_computed_for_frozen_parameters():
    """The products of a backward pass of a frozen encoder are not there."""

    def products(frozen):
        step = train_step(OBJECTIVES, weighting.equal(), optax.sgd(0.1), frozen=frozen)
        state = step.init(PARAMS)
        return str(jax.make_jaxpr(step.update)(state, BATCH)).count("dot_general")

    nothing = {"shared": False, "heads": False}
    # One loop over two groups. Backward the encoder has the gradients of two matrices, and what
    # goes from the second to the first.
    assert products(nothing) - products({**nothing, "shared": True}) == 3


def test_integers_may_be_frozen_and_losses_plain():
    losses = {
        "a": lambda params, batch: jnp.sum((params["w"] * params["n"] - batch) ** 2),
        "b": lambda params, batch: jnp.sum(params["w"] ** 2),
    }
    params = {"w": jnp.ones(2), "n": jnp.arange(2)}
    step = train_step(losses, weighting.equal(), optax.sgd(0.5), frozen={"w": False, "n": True})
    state, _ = jax.jit(step.update)(step.init(params), jnp.zeros(2))
    np.testing.assert_allclose(state.params["w"], [1 - 0.5, 1 - 0.5 * 2])
    np.testing.assert_array_equal(state.params["n"], [0, 1])


def test_what_cannot_be_frozen():
    everything = {"shared": True, "heads": True}
    with pytest.raises(ValueError, match="all parameters are"):
        train_step(OBJECTIVES, weighting.equal(), optax.sgd(1.0), frozen=everything).init(PARAMS)
    shared = {"shared": True, "heads": False}
    with pytest.raises(ValueError, match="no gradients of them to weigh"):
        train_step(OBJECTIVES, weighting.upgrad(), optax.sgd(1.0), frozen=shared).init(PARAMS)
    with pytest.raises(ValueError, match="of all parameters"):
        train_step(
            OBJECTIVES._replace(with_frozen=None), weighting.equal(), optax.sgd(1.0), frozen=shared
        )
