"""What does not fit is an error that names tasks and shapes, while tracing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients
from mtljax.gradients import Examples


def run(case, strategy="auto", **changes):
    case = case._replace(**changes)
    return gradients.task_gradients(*case[:5], key=case.key, strategy=strategy)


def head_that_returns(make):
    return lambda params, features, targets: make(features)


@pytest.mark.parametrize("strategy", ["unrolled", "vmapped", "scanned"])
@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda features: features[:, 0], r"'t1'.*\(6,\)"),
        (lambda features: jnp.sum(features, keepdims=True), r"'t1'.*\(1, 1\)"),
        (lambda features: jnp.argmax(features), "'t1'.*int32"),
        (lambda features: jnp.sum(features) > 0, "'t1'.*bool"),
        (lambda features: 3, "'t1'.*int"),
        (lambda features: (jnp.sum(features), features), "'t1'.*tuple"),
        (lambda features: None, "'t1'.*None"),
    ],
)
def test_a_head_returns_no_scalar(cases, make, names, strategy):
    case = cases["equal_shapes"]()
    heads = {**case.heads, "t1": head_that_returns(make)}
    with pytest.raises(ValueError, match=names):
        run(case, strategy, heads=heads)
    with pytest.raises(ValueError, match=names):
        gradients.task_losses(case.encode, heads, *case[2:5])


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda features: jnp.mean(features), r"'gt0'.*'t0'.*\(\).*\(6, 3\)"),
        (lambda features: features.T, r"'gt0'.*'t0'.*\(4, 6\).*\(6, 3\)"),
        (lambda features: {"x": features, "y": jnp.ones(5)}, r"\(5,\).*\(6, 3\).*Unbatched"),
    ],
)
def test_features_have_no_batch_axis(cases, change, names):
    case = cases["equal_shapes"]()
    with pytest.raises(ValueError, match=names):
        run(case, encode=lambda shared, inputs: change(case.encode(shared, inputs)))


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda c: c._replace(heads=without(c.heads, "b")), r"batch \['a', 'b'.*heads \['a', 'c'"),
        (lambda c: c._replace(head_params=without(c.head_params, "b")), "head_params .*heads"),
        (lambda c: c._replace(batch=without(c.batch, "x")), r"batch \['a', 'c', 'd'\].*heads"),
        (
            lambda c: c._replace(encode=without(c.encode, "x")),
            r"input groups of batch \['x', 'y'\].*encode \['y'\]",
        ),
        (
            lambda c: c._replace(batch={**c.batch, "z": Examples(jnp.ones((2, 3)), {})}),
            "'z' has no task",
        ),
        (
            lambda c: c._replace(batch={**c.batch, "z": c.batch["x"]}),
            "task '[be]' is in groups 'x' and 'z'",
        ),
    ],
)
def test_names_differ(cases, change, names):
    case = change(cases["groups"]())
    with pytest.raises(ValueError, match=names):
        run(case)
    with pytest.raises(ValueError, match=names):
        gradients.task_losses(*case[:5])
    with pytest.raises(ValueError, match=names):
        gradients.lagged_gradients(*case[:5], jnp.ones(len(case.heads)))


def test_no_tasks(cases):
    with pytest.raises(ValueError, match="no tasks"):
        run(cases["equal_shapes"](), heads={}, head_params={}, batch={})


@pytest.mark.parametrize("strategy", ["vmapped", "scanned"])
@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("unequal_shapes", r"'first' and 'second' differ: float32\[5, 3\] and float32\[7, 3\]"),
        ("groups", "'e', 'b' read one batch, of group 'x'|'b', 'e' read one batch"),
        ("tied_group", "'a', 'b', 'c' read one batch"),
    ],
)
def test_ways_that_shapes_do_not_allow(cases, name, names, strategy):
    with pytest.raises(ValueError, match=f"{strategy}.*({names})"):
        run(cases[name](), strategy)
    with pytest.raises(ValueError, match=names):
        case = cases[name]()
        gradients.lagged_gradients(
            *case[:5], np.ones(3 + 2 * (name == "groups")), strategy=strategy
        )


@pytest.mark.parametrize("strategy", ["vmapped", "scanned"])
def test_two_encoders(cases, strategy):
    case = cases["equal_shapes"]()
    encoders = {name: lambda shared, inputs: inputs @ shared["kernel"] for name in case.batch}
    encoders = {**encoders, "gt0": case.encode}
    with pytest.raises(ValueError, match=f"{strategy}.*'gt0' and 'gt1' have encoders of their own"):
        run(case, strategy, encode=encoders)
    run(case, strategy, encode=dict.fromkeys(case.batch, case.encode))


@pytest.mark.parametrize("strategy", ["vmapped", "scanned"])
def test_inputs_of_other_dtypes(cases, strategy):
    case = cases["equal_shapes"]()
    halves = case.batch["gt1"]._replace(inputs=case.batch["gt1"].inputs.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=r"bfloat16\[6, 3\]"):
        run(case, strategy, batch={**case.batch, "gt1": halves})


def test_no_such_way(cases):
    with pytest.raises(ValueError, match="auto, unrolled, vmapped, scanned, got 'fast'"):
        run(cases["equal_shapes"](), "fast")


@pytest.mark.parametrize("weights", [jnp.ones(2), jnp.ones((3, 1)), 1.0])
def test_weights_of_another_shape(cases, weights):
    with pytest.raises(ValueError, match=r"weights must have shape \(3,\)"):
        gradients.lagged_gradients(*cases["equal_shapes"]()[:5], weights)


def test_a_sketch_is_not_vmapped(cases):
    case = cases["equal_shapes"]()
    with pytest.raises(ValueError, match="vmapped.*sketch"):
        gradients.lagged_gradients(*case[:5], jnp.ones(3), strategy="vmapped", sketch=64)
    with pytest.raises(ValueError, match="size"):
        gradients.lagged_gradients(*case[:5], jnp.ones(3), sketch=1)


def test_representation_of_two_groups(cases):
    case = cases["unequal_heads"]()
    with pytest.raises(ValueError, match="one input group.*'a'.*'b'.*'c'"):
        gradients.representation_gradients(*case[:5])


def test_errors_come_while_tracing(cases):
    case = cases["unequal_shapes"]()
    with pytest.raises(ValueError, match="vmapped"):
        jax.eval_shape(lambda shared: run(case, "vmapped", shared=shared), case.shared)
