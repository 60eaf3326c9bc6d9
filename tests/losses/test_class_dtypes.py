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
    logits, features, table = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((11, classes), (11, 4), (classes, 4))
    )
    negatives = rng.integers(classes, size=30)
    log_q = np.full(30, -np.log(classes), np.float32)

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
    def sums(inputs, targets):
        return {name: loss(inputs[name], targets).sum() for name, (loss, _) in functions.items()}

    @jax.jit
    def gradients(inputs, targets):
        return jax.grad(lambda inputs: sum(sums(inputs, targets).values()))(inputs)

    first, *_ = NARROW[classes]
    for dtype in NARROW[classes]:
        ids = ids_of(dtype, classes, rng)
        narrow, wide = ids.astype(jnp.dtype(dtype)), ids.astype(np.int32)
        found, expected = (jax.device_get(sums(inputs, each)) for each in (narrow, wide))
        for name, value in expected.items():
            assert np.isfinite(value), name
            np.testing.assert_array_equal(found[name], value, f"{name}, {dtype}")
        if dtype == first:
            found, expected = (jax.device_get(gradients(inputs, each)) for each in (narrow, wide))
            for name, gradient in expected.items():
                np.testing.assert_array_equal(found[name], gradient, f"{name}, {dtype}")


@pytest.mark.parametrize(("dtype", "classes"), [("uint8", 200), ("int8", 200)])
def test_ids_outside_are_still_nan(rng, dtype, classes):
    outside = [-1] if dtype == "int8" else [classes, 255]
    targets = jnp.asarray([*outside, *[0] * (11 - len(outside))], dtype)
    for name, (loss, inputs) in loss_functions(rng, classes).items():
        expected = np.arange(11) < len(outside)
        found = jax.jit(loss)(inputs, targets)
        np.testing.assert_array_equal(np.isnan(found), expected, name)


sampled = jax.jit(losses.sampled_softmax)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_sampled_classes_in_narrow_dtypes(rng, dtype):
    features, table = (rng.normal(size=(n, 4)).astype(np.float32) for n in (11, 256))
    targets, negatives = rng.integers(256, size=11), rng.integers(127, size=30)
    log_q = np.full(30, -np.log(256), np.float32)
    narrow, wide = (
        sampled(features, table, None, targets, negatives.astype(d), log_q)
        for d in (dtype, np.int32)
    )
    np.testing.assert_array_equal(narrow, wide)
