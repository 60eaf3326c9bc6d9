"""Low-rank updates of dense layers."""

import jax
import jax.numpy as jnp


def low_rank(x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """What a low-rank update adds to a dense layer (LoRA, Hu et al. 2021).

    Args:
      x: ``[N, D]``, floating point.
      a: ``[D, r]``.
      b: ``[r, E]``, with the scale ``alpha / r`` in it.

    Returns:
      ``x a b``, ``[N, E]``, in the dtype of `x`.

    >>> low_rank(jnp.ones((1, 2)), jnp.array([[1.0], [2.0]]), jnp.array([[1.0, 0.0, -1.0]]))
    Array([[ 3.,  0., -3.]], dtype=float32)
    """
    return (x @ a.astype(x.dtype)) @ b.astype(x.dtype)


def merged(kernel: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """A kernel of any shape with a low-rank update in it.

    Args:
      kernel: ``[*in, *out]``; of stacked layers, ``[L, *in, *out]``.
      a: ``[D, r]``, ``D`` the product of ``in``; of stacked layers ``[L, D, r]``.
      b: ``[r, E]``, ``E`` that of ``out``, with its scale in it; ``[L, r, E]``.

    Returns:
      ``W + a b`` in the shape of the kernel.
    """
    return kernel + (a @ b).reshape(kernel.shape).astype(kernel.dtype)


def of_task(a: jax.Array, b: jax.Array, core: jax.Array, mix: jax.Array) -> tuple[jax.Array, ...]:
    """The low-rank update of one task, out of parts that all tasks share.

    MTL-LoRA (Yang et al. 2025): ``sum_i s_i B_i C A x``, where the core ``C`` and the logits of
    the mixture ``s`` are the task's own.

    Args:
      a: ``[..., D, r]``, shared.
      b: ``[n, ..., r, E]``, shared.
      core: ``[..., r, r]``, the task's.
      mix: ``[..., n]``, the task's logits.

    Returns:
      Its ``a`` ``[..., D, r]`` and ``b`` ``[..., r, E]``.
    """
    shares = jnp.moveaxis(jax.nn.softmax(mix, axis=-1), -1, 0)[..., None, None]
    return a @ core, jnp.sum(shares * b, axis=0)
