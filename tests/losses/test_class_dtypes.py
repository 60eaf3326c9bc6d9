"""Class ids in dtypes that do not hold the number of classes, against the same ids in int32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import losses

NARROW = {
    256: ("uint8", "int8", "uint16", "uint32"),
    128: ("int8",),
    8: ("int4", "uint4"),
}
"""By the number of classes, which their largest id may be beside; 256 and 128 do not fit."""


def ids_of(dtype, classes, rng):
    """Ids that `dtype` and the number of classes both allow, the largest one included."""
    largest = min(int(jnp.iinfo(dtype).max), classes - 1)
    return np.append(rng.integers(largest + 1, size=9), [0, largest])


def loss_functions(rng, classes):
    """Losses of logits or features for 11 targets, by name, and what they are computed from."""
    logits = jnp.asarray(rng.normal(size=(11, classes)), jnp.float32)
    features = jnp.asarray(rng.normal(size=(11, 4)), jnp.float32)
    table = jnp.asarray(rng.normal(size=(classes, 4)), jnp.float32)
    negatives = jnp.asarray(rng.integers(classes, size=30))
    log_q = jnp.full(30, -np.log(classes), jnp.float32)

    def sampled(features, targets):
        return losses.sampled_softmax(features, table, None, targets, negatives, log_q)

    def linear(features, targets):
        return losses.linear_cross_entropy(features, table, None, targets, chunk=4)

    return {
        "softmax": (losses.softmax, logits),
        "smoothed": (lambda z, t: losses.softmax(z, t, 0.1), logits),
        "multiclass_hinge": (losses.multiclass_hinge, logits),
        "linear_cross_entropy": (linear, features),
        "sampled_softmax": (sampled, features),
    }


@pytest.mark.parametrize("classes", NARROW)
def test_equal_those_of_int32_with_their_gradients(rng, classes):
    functions = loss_functions(rng, classes)
    inputs = {name: inputs for name, (_, inputs) in functions.items()}

    @jax.jit
    def sums_and_gradients(inputs, targets):
        return {
            name: jax.value_and_grad(lambda x, f=loss: f(x, targets).sum())(inputs[name])
            for name, (loss, _) in functions.items()
        }

    for dtype in NARROW[classes]:
        ids = ids_of(dtype, classes, rng)
        narrow, wide = (
            jax.device_get(sums_and_gradients(inputs, jnp.asarray(ids, d)))
            for d in (dtype, "int32")
        )
        for name, (expected, expected_gradient) in wide.items():
            value, gradient = narrow[name]
            assert np.isfinite(expected), name
            np.testing.assert_array_equal(value, expected, f"{name}, {dtype}")
            np.testing.assert_array_equal(gradient, expected_gradient, f"{name}, {dtype}")


@pytest.mark.parametrize(("dtype", "classes"), [("uint8", 200), ("int8", 200)])
def test_ids_outside_are_still_nan(rng, dtype, classes):
    outside = [-1] if dtype == "int8" else [classes, 255]
    targets = jnp.asarray([*outside, *[0] * (11 - len(outside))], dtype)
    for name, (loss, inputs) in loss_functions(rng, classes).items():
        expected = np.arange(11) < len(outside)
        np.testing.assert_array_equal(np.isnan(loss(inputs, targets)), expected, name)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_sampled_classes_in_narrow_dtypes(rng, dtype):
    features = jnp.asarray(rng.normal(size=(11, 4)), jnp.float32)
    table = jnp.asarray(rng.normal(size=(256, 4)), jnp.float32)
    targets, negatives = rng.integers(256, size=11), rng.integers(127, size=30)
    log_q = jnp.full(30, -np.log(256), jnp.float32)
    narrow, wide = (
        losses.sampled_softmax(features, table, None, targets, jnp.asarray(negatives, d), log_q)
        for d in (dtype, jnp.int32)
    )
    np.testing.assert_array_equal(narrow, wide)
