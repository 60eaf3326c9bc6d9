"""What per-task gradients cost: FLOPs and traced equations, which do not depend on the machine."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from mtljax import gradients
from mtljax.gradients import Examples


def encode(shared, inputs):
    for kernel in shared:
        inputs = jnp.tanh(inputs @ kernel)
    return inputs


def head(params, features, targets):
    return jnp.mean((features @ params - targets) ** 2)


def problem(tasks, rows=(32,), width=64):
    shared = [jnp.ones((width, width))] * 4
    batch = {}
    for i in range(tasks):
        count = rows[i % len(rows)]
        batch[f"g{i}"] = Examples(jnp.ones((count, width)), {f"t{i}": jnp.ones(count)})
    params = {f"t{i}": jnp.ones(width) for i in range(tasks)}
    return shared, params, batch


def flops(function, *arguments):
    analysis: Any = jax.jit(function).lower(*arguments).compile().cost_analysis()
    return analysis["flops"]


@pytest.mark.parametrize(
    ("strategy", "rows"), [("unrolled", (32,)), ("unrolled", (16, 48)), ("vmapped", (32,))]
)
@pytest.mark.parametrize("tasks", [2, 8])
def test_own_batches_cost_what_their_sum_costs(strategy, rows, tasks):
    arguments = problem(tasks, rows)

    def of_sum(shared, params, batch):
        def total(shared, params):
            return sum(
                head(params[task], encode(shared, examples.inputs), targets)
                for examples in batch.values()
                for task, targets in examples.targets.items()
            )

        return jax.grad(total, argnums=(0, 1))(shared, params)

    def per_task(shared, params, batch):
        heads = dict.fromkeys(params, head)
        return gradients.task_gradients(encode, heads, shared, params, batch, strategy=strategy)

    assert flops(per_task, *arguments) <= 1.03 * flops(of_sum, *arguments)


def test_a_shared_batch_is_encoded_once():
    shared, params, batch = problem(4)
    inputs = batch["g0"].inputs
    batch = {"all": Examples(inputs, dict.fromkeys(params, jnp.ones(32)))}

    def per_task(shared, params, batch):
        return gradients.task_gradients(
            encode, dict.fromkeys(params, head), shared, params, batch, strategy="unrolled"
        )

    def features(shared):
        return encode(shared, inputs)

    def passes(shared):
        _, pull_back = jax.vjp(features, shared)
        return [pull_back(jnp.full((32, 64), i)) for i in (1.0, 2.0, 3.0, 4.0)]

    text = str(jax.make_jaxpr(per_task)(shared, params, batch))
    assert text.count("tanh") == 4
    # Heads are the difference.
    assert flops(per_task, shared, params, batch) <= 1.05 * flops(passes, shared)


@pytest.mark.parametrize("strategy", ["vmapped", "scanned"])
def test_the_encoder_is_traced_once(strategy):
    """What grows with T is the stacking of what tasks bring, and its reverse: a few equations."""

    def equations(tasks):
        shared, params, batch = problem(tasks)

        def run(shared, params, batch):
            heads = dict.fromkeys(params, head)
            return gradients.task_gradients(encode, heads, shared, params, batch, strategy=strategy)

        jaxpr = jax.make_jaxpr(run)(shared, params, batch)
        return names_of(jaxpr.jaxpr)

    stacking = {"broadcast_in_dim", "concatenate", "slice", "squeeze", "reshape", "gather"}
    stacking |= {"optimization_barrier"}
    few, many = ([n for n in equations(tasks) if n not in stacking] for tasks in (2, 16))
    assert few == many
    assert few.count("tanh") == 4


@pytest.mark.parametrize("compute", ["gradients", "losses", "sketches"])
def test_each_set_of_alike_groups_is_traced_once(compute):
    """Groups of 32, 48 and 16 rows: three sets, whatever the number of tasks."""

    def traced(tasks):
        calls = []

        def counted(shared, inputs):
            calls.append(len(inputs))
            return encode(shared, inputs)

        def run(shared, params, batch):
            arguments = (counted, dict.fromkeys(params, head), shared, params, batch)
            if compute == "gradients":
                return gradients.task_gradients(*arguments)
            if compute == "losses":
                return gradients.task_losses(*arguments)
            return gradients.lagged_gradients(*arguments, jnp.ones(len(params)), sketch=64)

        names = names_of(jax.make_jaxpr(run)(*problem(tasks, (32, 48, 16))).jaxpr)
        return sorted(calls), names.count("dot_general")

    calls, products = traced(3 * 2)
    assert set(calls) == {16, 32, 48} and products
    assert traced(3 * 5) == (calls, products)


def test_a_sketched_group_has_one_backward_pass_to_compile():
    """Heads are the same function, so that nothing but their stacking grows with T."""

    def count(tasks):
        shared, params, batch = problem(tasks)
        heads = dict.fromkeys(params, head)
        group = {"all": Examples(batch["g0"].inputs, dict.fromkeys(params, jnp.ones(32)))}

        def run(shared, params, group):
            return gradients.lagged_gradients(
                encode, heads, shared, params, group, jnp.ones(tasks), sketch=64
            )

        names = names_of(jax.make_jaxpr(run)(shared, params, group).jaxpr)
        return names.count("dot_general"), names.count("tanh")

    assert count(2) == count(16)


def names_of(jaxpr):
    """The primitives of a jaxpr and of those within."""
    names = []
    for equation in jaxpr.eqns:
        names.append(equation.primitive.name)
        for value in equation.params.values():
            for inner in value if isinstance(value, (list, tuple)) else (value,):
                if hasattr(inner, "jaxpr"):
                    inner = inner.jaxpr
                if hasattr(inner, "eqns"):
                    names.extend(names_of(inner))
    return names
