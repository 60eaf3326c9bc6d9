import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import gradients
from mtljax.gradients.group_heads import vjp_per_task


@pytest.mark.parametrize("count", [1, 3])
def test_rows_are_those_of_the_jacobian(rng, count):
    inputs = jnp.asarray(rng.normal(size=(5, 3)), jnp.float32)
    shared = {"kernel": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)}

    def encode(shared):
        return jnp.tanh(inputs @ shared["kernel"])

    features, vjp = jax.vjp(encode, shared)
    cotangents = jnp.asarray(rng.normal(size=(count, *features.shape)), jnp.float32)
    jacobian = np.asarray(jax.jacobian(encode)(shared)["kernel"], np.float64)
    expected = np.einsum("nbf,bfio->nio", cotangents, jacobian)
    for f in (vjp_per_task, jax.jit(vjp_per_task, static_argnums=0)):
        np.testing.assert_allclose(f(vjp, cotangents)["kernel"], expected, atol=1e-5)


def test_readers_of_the_gradients_need_no_second_copy(rng):
    """Gradients of matrices lie as the Gramian and the combination read them."""
    count, width = 6, 256
    shared = jnp.asarray(rng.normal(size=(2, width, width)) / 16, jnp.float32)
    heads = {f"t{i}": jnp.ones(width) for i in range(count)}
    batch = {"all": gradients.Examples(jnp.ones((8, width)), dict.fromkeys(heads, jnp.ones(8)))}

    def encode(shared, inputs):
        return jnp.tanh(inputs @ shared[0]) @ shared[1]

    def head(params, features, targets):
        return jnp.mean((features @ params - targets) ** 2)

    def direction(shared, heads, batch):
        found = gradients.task_gradients(encode, dict.fromkeys(heads, head), shared, heads, batch)
        return gradients.combine(gradients.gramian(found.shared)[0], found.shared)

    compiled = jax.jit(direction).lower(shared, heads, batch).compile()
    stacked = count * shared.nbytes
    memory = compiled.memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 1.7 * stacked
