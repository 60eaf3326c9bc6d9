"""A mapped axis stands for the devices: sums over it are those that a mesh has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.losses import weighted_mean
from mtljax.parallel import identity_with_psum_gradient, psum_with_local_gradient
from mtljax.parallel.split import any_device, first_row, share_of_mean

AXES = ("rows",)


def on_devices(function, *arguments):
    return jax.vmap(function, axis_name="rows")(*arguments)


@pytest.fixture
def rows():
    """Inputs, targets and weights of twelve rows on three devices, one of them without weights."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 4, 5)), rng.normal(size=(3, 4))
    weights = rng.uniform(size=(3, 4))
    weights[1] = 0
    return tuple(jnp.asarray(part, jnp.float32) for part in (x, y, weights))


def loss(params, x, y, weights):
    return weighted_mean((x @ params - y) ** 2, weights)


def test_a_mean_over_devices_and_its_gradient_are_those_of_all_rows(rows):
    params = jnp.arange(5.0)
    whole = [part.reshape(12, *part.shape[2:]) for part in rows]
    expected = jax.value_and_grad(loss)(params, *whole)

    def of_device(x, y, weights):
        def objective(params):
            mean = loss(identity_with_psum_gradient(params, AXES), x, y, weights)
            return psum_with_local_gradient(mean * share_of_mean(weights, AXES), AXES)

        return jax.value_and_grad(objective)(params)

    value, slope = on_devices(of_device, *rows)
    for device in range(3):
        np.testing.assert_allclose(value[device], expected[0], rtol=1e-6)
        np.testing.assert_allclose(slope[device], expected[1], rtol=1e-5)


def test_without_weights_anywhere_there_is_no_share():
    shares = on_devices(lambda w: share_of_mean(w, AXES), jnp.zeros((3, 4)))
    np.testing.assert_array_equal(shares, 0)


def test_shares_add_up_to_one(rows):
    shares = on_devices(lambda w: share_of_mean(w, AXES), rows[2])
    np.testing.assert_allclose(jnp.sum(shares), 1, rtol=1e-6)
    assert shares[1] == 0


def test_true_on_one_device_is_true_on_all():
    found = on_devices(
        lambda true: any_device(true, AXES), jnp.array([[True, False], [False, False]])
    )
    np.testing.assert_array_equal(found, [[True, False], [True, False]])


def test_rows_are_numbered_through_all_devices():
    numbers = on_devices(lambda rows: first_row(2, AXES) + jnp.arange(2), jnp.zeros((3, 2)))
    np.testing.assert_array_equal(numbers, [[0, 1], [2, 3], [4, 5]])


def test_a_program_that_sees_all_rows_adds_nothing_up():
    tree = {"a": jnp.ones(2)}
    assert (
        psum_with_local_gradient(tree, ()) is tree and identity_with_psum_gradient(tree, ()) is tree
    )
    assert first_row(7, ()) == 0
    assert any_device(tree["a"], ()) is tree["a"]
