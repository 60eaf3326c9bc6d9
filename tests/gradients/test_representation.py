"""Gradients at the encoder's output."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients


@pytest.mark.parametrize("with_key", [False, True])
def test_features_heads_and_the_way_back(cases, expected, close, with_key):
    case = cases["dropout_groups" if with_key else "groups"]()
    tasks = ["d", "a", "c"]
    heads = {task: case.heads[task] for task in tasks}
    params = {task: case.head_params[task] for task in tasks}
    one = case._replace(heads=heads, head_params=params, batch={"y": case.batch["y"]})
    one = one._replace(encode=case.encode["y"])
    found = gradients.representation_gradients(*one[:5], key=one.key)
    losses, shared, head_grads = expected(one)
    close(found.losses, losses)
    close(found.heads, head_grads)

    keys = (jax.random.fold_in(one.key, 0),) if with_key else ()
    features = one.encode(one.shared, one.batch["y"].inputs, *keys)
    (cotangents,) = found.features
    for i, task in enumerate(tasks):
        last = (jax.random.fold_in(one.key, 1 + i),) if with_key else ()
        cotangent = jax.grad(heads[task], argnums=1)(
            params[task], features, one.batch["y"].targets[task], *last
        )
        close(cotangents[i], cotangent)

    weights = jnp.array([0.5, -1.0, 2.0])
    direction = found.pull_back(gradients.combine(weights, found.features))
    close(direction, jax.tree.map(lambda leaf: np.tensordot(weights, leaf, 1), shared))


def test_features_without_a_batch_axis_and_integers(cases, expected, close):
    """A tied table is part of the common space; integers are not."""
    case = cases["tied_group"]()

    @jax.jit
    def run(shared):
        found = gradients.representation_gradients(case.encode, case.heads, shared, *case[3:5])
        vectors, table = (leaf[1] for leaf in found.features)
        return found.losses, found.features, found.pull_back((vectors, jnp.zeros_like(table)))

    found = run(case.shared)
    inputs = case.batch["all"].inputs
    features = case.encode(case.shared, inputs)
    assert [leaf.shape for leaf in found[1]] == [(3, 4, 5, 4), (3, 9, 4)]

    def loss(vectors, table, task):
        tied = features._replace(vectors=vectors, table=gradients.Unbatched(table))
        return case.heads[task](case.head_params[task], tied, case.batch["all"].targets[task])

    for i, task in enumerate("abc"):
        wanted = jax.grad(loss, argnums=(0, 1))(features.vectors, features.table.value, task)
        close(tuple(leaf[i] for leaf in found[1]), wanted)
    close(found[0], expected(case)[0])

    def through_vectors(shared):
        vectors = case.encode(shared, inputs).vectors
        return loss(vectors, case.shared["table"], "b")

    close(found[2], jax.grad(through_vectors)(case.shared))


def test_one_backward_pass_through_the_encoder(cases):
    """The encoder's products are as many for three tasks as for one."""
    case = cases["tied_group"]()

    def count(tasks):
        targets = {task: case.batch["all"].targets[task] for task in tasks}
        batch = {"all": gradients.Examples(case.batch["all"].inputs, targets)}
        heads = {task: lambda p, f, t: jnp.sum(f.vectors * f.vectors) for task in tasks}
        params = {task: case.head_params[task] for task in tasks}

        def run(shared):
            found = gradients.representation_gradients(case.encode, heads, shared, params, batch)
            return found.pull_back(gradients.combine(jnp.ones(len(tasks)), found.features))

        return str(jax.make_jaxpr(run)(case.shared)).count("dot_general")

    assert count("abc") == count("a") == 3
